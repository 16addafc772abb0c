/* SPDX-License-Identifier: Apache-2.0 */
/* agent/finish.h -- a named profile on its way out: header, files, and what a terminal shows.
 *
 * A profile is taken from the session on its thread; the rest needs none of the session's tables and
 * may be done on another thread while the next window is sampled. */
#ifndef GP_AGENT_FINISH_H
#define GP_AGENT_FINISH_H

#include <stdatomic.h>

#include "agent/governor.h"
#include "agent/machine.h"
#include "agent/output.h"
#include "agent/session.h"
#include "config/options.h"
#include "delivery/delivery.h"
#include "profile/profile.h"

/* How profiles of one kind are to go out; shared by who makes them and by those on their way. */
struct finish_config {
	atomic_uint refs;
	struct options options; // a copy
	struct output_config output; // texts belong to options
	uint64_t spawn_real_ns; // start of this program
	struct delivery *delivery; // NULL: nothing is uploaded
	struct machine *machine; // for the headers
};

/* options are copied (options_copy()). Return 0 with one reference, or -ENOMEM. */
int finish_config_new(const struct options *options, struct finish_config **ret);
struct finish_config *finish_config_ref(struct finish_config *c);
void finish_config_unref(struct finish_config *c);

/* Who wants to know what became of a profile: called once, on whatever thread, with 0 when it was written
 * and kept for the server, or with the first error (-ECANCELED: it was dropped). */
struct finish_receipt {
	void (*fn)(void *arg, const struct finish_receipt *receipt, int r); // NULL: nobody
	void *arg;
	char id[72]; // of a command
	uint64_t seconds; // it took
	const char *error; // constant: why it is not all that was asked for, NULL: it is
	bool last; // no other profile comes of this command
};

/* One event of one window. */
struct finished {
	struct finish_config *config;
	struct finish_receipt receipt;
	struct profile profile;
	char event[64];
	bool clock; // the sampler's first event
	bool several; // other events have profiles of their own
	bool brief; // no HTML: there is no time for it
	struct governor_marks marks;
};

/* An empty profile. Return 0 or -ENOMEM. */
int finished_new(struct finish_config *config, const char *event, struct finished **ret);
/* Names what event number `event` gathered in the window that ended; logs why it cannot. The
 * session's thread. Return 0 with a new one, or -errno. */
int finished_take(
	struct finish_config *config, struct session *s, unsigned event, struct finished **ret);
/* The receipt is given, if it was not. */
void finished_free(struct finished *f);

/* Makes the header, writes the files, keeps it for the server; failures are logged. Any thread, one at a time. Return 0 or
 * the first error. */
int finished_write(struct finished *f);

#endif
