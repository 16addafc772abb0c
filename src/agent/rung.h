/* SPDX-License-Identifier: Apache-2.0 */
/* agent/rung.h -- the ladder of sources (DESIGN.md): the first rung that this machine allows.
 *
 *   bpf      the whole machine, unwound in the kernel
 *   ring     the same without BPF; else own processes only
 *   reader   no samples: interpreters read from outside by a timer
 *
 * What a rung below the first loses is a warning in the log, with the reason. */
#ifndef GP_AGENT_RUNG_H
#define GP_AGENT_RUNG_H

#include "agent/session.h"

/* Opens the source that config asks for, or the best there is; capture.own_only is set on the way down.
 * Return 0 with *ret, whose name is that of the rung, or -errno with a sentence in why (CAPTURE_WHY). */
int rung_open(struct session_config *config, struct capture_source **ret, char *why);

#endif
