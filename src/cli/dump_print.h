/* SPDX-License-Identifier: Apache-2.0 */
/* cli/dump_print.h -- a dump as text for people, or as JSON, on standard output. */
#ifndef GP_CLI_DUMP_PRINT_H
#define GP_CLI_DUMP_PRINT_H

#include <stdbool.h>

#include "cli/dump_entries.h"

/* Return 0, -ENOMEM. */
int dump_print(struct dump *d, bool as_json);

#endif
