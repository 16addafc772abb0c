/* SPDX-License-Identifier: Apache-2.0 */
/* capture/source_replay.h -- the replay source over an open stream (see record_file.h). */
#ifndef GP_CAPTURE_SOURCE_REPLAY_H
#define GP_CAPTURE_SOURCE_REPLAY_H

#include <stdio.h>

#include "capture/source.h"

/* As capture_source_replay_new(). Takes over f, also on failure. */
int source_replay_new(FILE *f, const char *name, struct capture_source **ret, char *why);

#endif
