/* SPDX-License-Identifier: Apache-2.0 */
/* agent/finish.h -- a named profile on its way out: header, files, and what a terminal shows.
 *
 * A profile is taken from the session on its thread; the rest needs none of the session's tables and
 * may be done on another thread while the next window is sampled. */
#ifndef GP_AGENT_FINISH_H
#define GP_AGENT_FINISH_H

#include "agent/governor.h"
#include "agent/output.h"
#include "agent/session.h"
#include "config/options.h"
#include "delivery/delivery.h"
#include "profile/profile.h"

struct finish_config {
	const struct options *options;
	struct output_config output;
	uint64_t spawn_real_ns; // start of this program
	struct delivery *delivery; // NULL: nothing is uploaded
};

/* One event of one window. */
struct finished {
	struct profile profile;
	char event[64];
	bool several; // other events have profiles of their own
	bool brief; // no HTML: there is no time for it
	struct governor_marks marks;
};

/* Names what event number `event` gathered in the window that ended; logs why it cannot. The
 * session's thread. Return 0 with a new one, or -errno. */
int finished_new(const struct finish_config *config, struct session *s, unsigned event,
	struct finished **ret);
void finished_free(struct finished *f);

/* Makes the header, writes the files, keeps it for the server; failures are logged. Any thread, one at a time. Return 0 or
 * the first error. */
int finished_write(const struct finish_config *config, struct finished *f);

#endif
