/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/delivery.h -- finished profiles to the studio, whatever the network does.
 *
 * A profile is packed by the caller's thread and put into the spool; a thread of ours sends what is
 * in there, oldest first, and removes what the server has taken. So a kill loses nothing that
 * delivery_profile() returned from. Where there is no spool a few uploads wait in memory.
 *
 * What an answer means (gprofiler-studio.md A.2):
 *   200            sent; the gpid is echoed next time
 *   400            the gpid is forgotten and the same upload tried once more without; refused again
 *                  it is dropped with an error
 *   401 403 404, a bad key    kept, one error, tried now and then: somebody mends the configuration
 *   413            cut into smaller ones
 *   411 422        dropped with an error
 *   408 429 5xx, no answer    kept, tried again with growing patience and jitter (Retry-After is
 *                  obeyed). A 5xx, a nonsense 200 or none in time may be the profile's own doing: at
 *                  the third one in a row it is set aside while others wait, and tried again
 *                  after one to ten minutes, or when the server took another after several
 * Any thread may call; calls do not wait for the network but where said. */
#ifndef GP_DELIVERY_DELIVERY_H
#define GP_DELIVERY_DELIVERY_H

#include <signal.h>

#include "config/options.h"
#include "delivery/metrics.h"
#include "delivery/server_log.h"
#include "delivery/studio.h"
#include "export/export.h"

struct delivery_config {
	struct studio_config studio; // texts are borrowed and outlive the delivery
	const char *shown_server; // for people: without user and password
	bool v1;
	const char *spool_dir; // NULL: the usual places
	uint64_t spool_bytes, spool_age_s; // bytes 0: no spool
	uint64_t spawn_real_ns; // start of this program
	struct metrics *metrics; // where failures are counted; not owned, NULL nowhere
	bool send_logs;
	struct server_log_config logs; // with send_logs
};

struct delivery_stats {
	uint64_t sent, sent_bytes; // uploads, compressed bytes
	uint64_t dropped_refused; // 400, 411, 422, 413 of something small
	uint64_t dropped_memory; // no spool, and no room in memory
	uint64_t lost_size, lost_age, lost_damaged; // of the spool
	uint64_t lines_refused; // stack lines the server could not have read
	uint64_t failures; // tries that did not succeed
	uint64_t last_sent_real_ns; // when the server last took one; 0 not yet
	uint64_t waiting, waiting_bytes; // uploads that are kept now
};

struct delivery;

/* Texts that a delivery's config borrows; kept by the caller, longer than the delivery. */
struct delivery_texts {
	struct buf service; // the cleaned name
	struct buf server; // for people
};
void delivery_texts_deinit(struct delivery_texts *texts);

/* Fills config from the options of the studio's group. Warns about half-given certificates.
 * Return 0, or -EINVAL after an error in the log that says what to change. */
int delivery_configure(struct delivery_config *config, const struct options *o,
	const char *hostname, struct delivery_texts *texts);

/* Opens the spool, asks the server how it is (waits up to 5 s), starts to send. A server that is
 * away is a warning. Return 0; 1 when the server says that this agent cannot be served, or a
 * certificate file is unreadable: logged, the program ends; -errno. */
int delivery_start(const struct delivery_config *config, struct delivery **ret);

/* What an upload says of a profile. */
struct delivery_text {
	const struct export_collapsed_options *collapsed;
	int fd; // a file that export_collapsed() wrote with these; -1: it is asked for the text
	bool page; // the flame graph page goes along, as long as there is room
};

/* Packs and keeps a finished profile; its header is changed and put back meanwhile. What goes wrong is
 * logged. Return 0 or -errno. */
int delivery_profile(struct delivery *d, struct profile *p, const struct delivery_text *text);

/* Nothing is profiled from now on, until it is said that something is: when all is sent the connection is
 * closed, whose TLS holds more memory than everything else in an idle agent. Any thread. */
void delivery_set_idle(struct delivery *d, bool idle);

/* Sends what waits, until nothing is left, a try fails or the time is over (milliseconds); then
 * ends. Once *stop (may be NULL) is not 0 it takes three seconds at most. What is left stays in the
 * spool, and the log says so. */
void delivery_finish(struct delivery *d, unsigned timeout_ms, const volatile sig_atomic_t *stop);
void delivery_free(struct delivery *d);

void delivery_stats(struct delivery *d, struct delivery_stats *ret);

#endif
