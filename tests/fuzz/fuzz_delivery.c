/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a server, and files of the spool: decoded, packed again, made into bodies. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/compress.h"
#include "delivery/pack.h"
#include "delivery/studio.h"

static int drop(struct upload *u, void *arg)
{
	_cleanup_buf_ struct buf kept = BUF_INIT(UPLOAD_KEPT_MAX);

	(void)arg;
	// What we made ourselves can always be kept and sent.
	if (upload_encode(&kept, u) == 0 && kept.len == 0)
		abort();
	return 0;
}

static void spool_file(const uint8_t *data, size_t len)
{
	_cleanup_upload_ struct upload u = {0};
	_cleanup_buf_ struct buf body = BUF_INIT(UPLOAD_KEPT_MAX);

	upload_init(&u);
	if (upload_decode(&u, data, len))
		return;
	upload_body(&body, &u, "12");
	pack_again(&u, drop, NULL);
}

/* The member is made here, so that its text is what is hostile. */
static int append(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static void member_text(const uint8_t *data, size_t len)
{
	static char name[] = "n";
	const struct upload_origin origin = {.run = name, .service = name, .hostname = name};
	struct gzip_writer *w;
	_cleanup_upload_ struct upload u = {0};

	upload_init(&u);
	if (upload_set_origin(&u, &origin) || gzip_writer_new(0, append, &u.member, &w))
		return;
	if (!gzip_write(w, data, len) && !gzip_finish(w))
		pack_again(&u, drop, NULL);
	gzip_writer_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct studio_answer a;

	if (len > 1 << 20)
		return 0;
	studio_judge(len ? 100 + data[0] * 2 : 0, (const char *)data, len, len & 1, &a);
	if (strlen(a.gpid) >= STUDIO_GPID_MAX || strlen(a.message) >= STUDIO_MESSAGE_MAX)
		abort();
	for (const char *c = a.message; *c; c++)
		if ((unsigned char)*c < 0x20)
			abort();
	spool_file(data, len);
	member_text(data, len);
	return 0;
}

static void seed_text(struct buf *out)
{
	buf_append_str(out, "\"start_time\": \"t\", \"profile\": \"# {\\\"flamegraph_html\\\": "
			    "\\\"<a \\\\\\\"b\\\\\\\\\\\">\\\", \\\"x\\\": 1}");
	for (unsigned i = 0; i < 400; i++)
		buf_printf(out, "\\n0;;p%u;f%x;g%x 1", i % 7, i * 2654435761u, i * 97);
	buf_append_str(out, "\"}");
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const answers[] = {
		"{\"message\": \"ok\", \"gpid\": 1234}",
		"{\"message\": \"Invalid API key\"}",
		"<html>413</html>",
		"{\"detail\": [{\"msg\": \"field required\"}]}",
		"{\"gpid\": \"\\ud83d\\ude00\", \"message\": \"\\u001b[0m\"}",
	};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	_cleanup_upload_ struct upload u = {0};
	static char name[] = "n";
	struct gzip_writer *w;

	if (n < ARRAY_SIZE(answers))
		return buf_append_str(out, answers[n]);
	if (n == ARRAY_SIZE(answers)) {
		seed_text(out);
		return 0;
	}
	if (n > ARRAY_SIZE(answers) + 1)
		return -1;
	upload_init(&u);
	seed_text(&text);
	if (upload_set_origin(&u, &(struct upload_origin){name, name, name, false}) ||
		gzip_writer_new(6, append, &u.member, &w))
		return -1;
	if (!gzip_write(w, text.data, text.len))
		gzip_finish(w);
	gzip_writer_free(w);
	return upload_encode(out, &u);
}
