/* SPDX-License-Identifier: Apache-2.0 */
/* capture/tables.h -- struct capture_tables in ordinary memory, for sources without BPF.
 *
 * Address space only: a page that is never written costs nothing. */
#ifndef GP_CAPTURE_TABLES_H
#define GP_CAPTURE_TABLES_H

#include "capture/source.h"

/* Return 0 or -ENOMEM. */
int capture_tables_map(struct capture_tables *ret);
void capture_tables_unmap(struct capture_tables *t);

#endif
