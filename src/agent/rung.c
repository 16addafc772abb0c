/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/rung.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

#define LOGGER "gprofiler"

/* The lowest rung: processes of the same user, user space only. */
static int open_own(
	struct session_config *c, const char *refused, struct capture_source **ret, char *why)
{
	int r;

	c->capture.own_only = true;
	r = capture_source_ring_new(&c->capture, ret, why);
	if (!r)
		log_warning(LOGGER,
			"Sampling own processes only, without BPF: %s. Kernel frames and the time inside "
			"system calls are not seen, and deep stacks are cut",
			refused);
	return r;
}

static bool may_read(const struct session_config *c)
{
	return c->python && !c->replay && (c->reading.always || c->reading.fallback);
}

/* Below the last rung of samples: interpreters alone, read by a timer. */
static int open_reader(
	const struct session_config *c, const char *refused, struct capture_source **ret, char *why)
{
	int r = capture_source_none_new(&c->capture, ret, why);

	if (!r && refused)
		log_warning(LOGGER,
			"Sampling is not possible: %s. Stacks of Python are read from outside by a "
			"timer; native stacks, other programs and the kernel are not seen",
			refused);
	return r;
}

/* Each refusal is kept for the log: what a lower rung loses is said once, here. */
int rung_open(struct session_config *c, struct capture_source **ret, char *why)
{
	char refused[CAPTURE_WHY] = "";
	int r = -ENOTSUP;

	if (c->rung == SESSION_RUNG_REPLAY)
		return capture_source_replay_new(c->replay, ret, why);
	if (c->rung == SESSION_RUNG_READER && !may_read(c)) {
		snprintf(why, CAPTURE_WHY,
			"reader: nothing would be read: --source reader takes --python-mode auto "
			"or pyspy");
		return -EINVAL;
	}
	if (c->rung == SESSION_RUNG_READER)
		return open_reader(c, NULL, ret, why);
	if (c->rung != SESSION_RUNG_RING && !c->capture.own_only) {
		r = capture_source_bpf_new(&c->capture, ret, why);
		// What the next rung cannot do either is said now.
		if (!r || c->rung == SESSION_RUNG_BPF || r == -ENOENT || r == -ENOMEM)
			return r;
		snprintf(refused, sizeof(refused), "%s", why);
	}
	r = capture_source_ring_new(&c->capture, ret, why);
	if (r && !c->capture.own_only && c->capture.npids && (r == -EPERM || r == -EACCES))
		r = open_own(c, refused, ret, why);
	if (r && r != -ENOMEM && c->rung == SESSION_RUNG_AUTO && may_read(c)) {
		snprintf(refused, sizeof(refused), "%s", why);
		return open_reader(c, refused, ret, why);
	}
	if (!r && refused[0] && !c->capture.own_only)
		log_warning(LOGGER,
			"Sampling without BPF: %s. Stacks are unwound from copies of %u bytes, so "
			"deep ones are cut",
			refused, c->capture.stack_bytes);
	return r;
}
