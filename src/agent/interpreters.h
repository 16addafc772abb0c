/* SPDX-License-Identifier: Apache-2.0 */
/* agent/interpreters.h -- how many processes of this machine run an interpreter, before anything is
 * attached to any of them. By the content of their files, through tables of its own that are gone when
 * the answer is given. Any thread. */
#ifndef GP_AGENT_INTERPRETERS_H
#define GP_AGENT_INTERPRETERS_H

/* Python processes, counted up to `enough`. Return 0, -ENOMEM, -errno of /proc. */
int interpreters_count(unsigned enough, unsigned *ret);

#endif
