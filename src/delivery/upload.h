/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/upload.h -- one upload as it is kept, in memory and on disk, and as it is sent.
 *
 * The studio's body is a JSON object whose "gpid" is only known when it is sent, and whose other
 * fields are known when the window ends (gprofiler-agent.md 4.3). So all but the gpid is written
 * and compressed once, and a stored block with the gpid is put in front of it for each try. A kept
 * upload is a line `gprofiler-upload 1 {json}` followed by that gzip member. One thread. */
#ifndef GP_DELIVERY_UPLOAD_H
#define GP_DELIVERY_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* What the server takes at most, and what proxies before it do (gprofiler-studio.md 1.4, 1.11). */
#define UPLOAD_MAX ((size_t)(4 << 20) - 4096)
#define UPLOAD_PREFERRED ((size_t)1000000)
/* A kept upload, line and member. */
#define UPLOAD_KEPT_MAX (UPLOAD_MAX + 65536)
/* What one may inflate to; a kept file that claims more is damaged. */
#define UPLOAD_TEXT_MAX ((size_t)2 << 30)

/* Where an upload belongs: one process of ours, one service. */
struct upload_origin {
	char *run; // identifies the process that measured: a gpid is only good for its own
	char *service; // already in the form the server keeps
	char *hostname;
	bool v1; // path and layout of --profile-api-version v1
};

struct upload {
	struct upload_origin origin; // owned
	struct buf member;
};

/* What is said about a window besides its text. */
struct upload_window {
	uint64_t start_real_ns, end_real_ns;
	uint64_t spawn_real_ns; // start of the agent
	double cpu_avg, mem_avg; // percent; negative: not known
};

void upload_init(struct upload *u);
void upload_deinit(struct upload *u);
static inline void cleanup_upload(struct upload *u)
{
	upload_deinit(u);
}
#define _cleanup_upload_ _cleanup_(cleanup_upload)
/* Return 0 or -ENOMEM; u is initialised. */
int upload_set_origin(struct upload *u, const struct upload_origin *origin);

/* Appends the body's fields up to and with `"profile": "`. */
int upload_fields(struct buf *out, const struct upload_window *window, const char *hostname);

/* Appends the kept form. Return 0, -ENOSPC, -ENOMEM. */
int upload_encode(struct buf *out, const struct upload *u);
/* Reads the kept form; u is initialised. Return 0, -EINVAL when it is none (or damaged), -ENOMEM. */
int upload_decode(struct upload *u, const void *data, size_t len);

/* Replaces out by the gzip body to send; gpid is JSON text (a string or a number).
 * Return 0, -EINVAL, -ENOSPC, -ENOMEM. */
int upload_body(struct buf *out, const struct upload *u, const char *gpid);

#endif
