/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/studio.h -- the studio's protocol: health check and upload (gprofiler-agent.md 4.1 to
 * 4.3, gprofiler-studio.md 1.2 to 1.5 and A.2).
 *
 * The token travels in a header only. The query has the reference's keys, but `key` does not carry
 * the token: it would end in every access log on the way, and the server ignores it
 * (docs/notes/0020). One thread a studio; studio_abort() from any. */
#ifndef GP_DELIVERY_STUDIO_H
#define GP_DELIVERY_STUDIO_H

#include "delivery/http_client.h"
#include "delivery/upload.h"

#define STUDIO_GPID_MAX 256
#define STUDIO_MESSAGE_MAX 512
#define STUDIO_GPID_NONE "\"\""

/* All texts are borrowed and outlive the studio. */
struct studio_config {
	struct http_config http;
	const char *server; // --server-host
	const char *token;
	const char *service; // as studio_clean_service() gives it
	const char *hostname;
	unsigned upload_timeout_s;
};

/* What an answer, or none, means for what was sent. */
enum studio_verdict {
	STUDIO_DONE,
	STUDIO_REFUSED, // 400: the gpid or the text; never sent unchanged again
	STUDIO_DENIED, // 400 for the key, 401, 403, or no studio at that address: the configuration
	STUDIO_TOO_LARGE, // 413
	STUDIO_INVALID, // 411, 422: ours to mend
	STUDIO_BUSY, // 408, 429, 5xx, or nonsense: later
	STUDIO_AWAY, // no connection: later
	STUDIO_TIMED_OUT, // later
	STUDIO_STOPPED, // aborted by us
};

struct studio_answer {
	enum studio_verdict verdict;
	long status; // HTTP's, 0 none
	unsigned retry_after_s; // 0 not said
	char gpid[STUDIO_GPID_MAX]; // JSON text; STUDIO_GPID_NONE if the server gave none
	char message[STUDIO_MESSAGE_MAX]; // for people: printable, without the token
};

struct studio;

/* Return 0, -ENOMEM. Connects to nothing. */
int studio_new(const struct studio_config *config, struct studio **ret);
void studio_free(struct studio *s);
void studio_abort(struct studio *s);
/* Closes the connection and gives back what it took; the next request opens one. */
void studio_rest(struct studio *s);
/* The client below, for other paths of the same server. */
struct http_client *studio_http(struct studio *s);

/* GET /api/v1/health_check. Return 0 with the answer filled (DONE, DENIED, BUSY, AWAY ...),
 * -ENOMEM. */
int studio_health(struct studio *s, struct studio_answer *ret);
/* POST /api/v2/profiles (v1 as the upload says). gpid is JSON text.
 * Return 0 with the answer filled, -EINVAL for a damaged upload, -ENOMEM. */
int studio_upload(
	struct studio *s, const struct upload *u, const char *gpid, struct studio_answer *ret);

/* Reads a status and a body, both hostile. uploaded: an answer to an upload must look like one. */
void studio_judge(
	long status, const char *body, size_t len, bool uploaded, struct studio_answer *ret);

/* What no answer means: err is an enum http_err, error its sentence. */
void studio_no_answer(int err, const char *error, struct studio_answer *ret);
/* Masks the secret in the message, also what is left of it at the message's end. */
void studio_hide_secret(struct studio_answer *a, const char *secret);
/* Appends a server's address without its last slashes, with a scheme if it has none. */
void studio_base_url(struct buf *url, const char *server);

/* The name as the server keeps it: [A-Za-z0-9_.-] only, no underscore in front. Return 0, -EINVAL
 * when nothing is left, -ENOSPC. */
int studio_clean_service(const char *name, struct buf *ret);

#endif
