/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings as hostile input: replayed whole, every byte handed out is touched. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture/order.h"
#include "capture/record_file.h"
#include "capture/source_replay.h"

static uint64_t sum_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += b[i];
	return sum;
}

static int touch(void *arg, const struct capture_event *e)
{
	const struct capture_sample *s = &e->sample;
	uint64_t *sum = arg;

	switch (e->type) {
	case CAPTURE_SAMPLE:
		*sum += sum_bytes(s->rec, sizeof(*s->rec)) + strlen(s->rec->comm);
		*sum += sum_bytes(s->kernel, 8u * s->rec->kernel_words);
		*sum += sum_bytes(s->user, 8u * s->rec->user_words);
		if (s->handoff)
			*sum += sum_bytes(s->stack, s->handoff->stack_len);
		break;
	case CAPTURE_MMAP:
		*sum += strlen(e->mmap.path) + sum_bytes(e->mmap.build_id, e->mmap.build_id_len);
		break;
	case CAPTURE_COMM:
		*sum += strlen(e->comm.text);
		break;
	case CAPTURE_CGROUP:
		*sum += strlen(e->cgroup.path);
		break;
	case CAPTURE_KSYMBOL:
		*sum += strlen(e->ksymbol.name);
		break;
	case CAPTURE_NAMED:
		*sum += sum_bytes(e->named.words, 8u * e->named.nwords) + strlen(e->named.comm);
		*sum += strlen(e->named.name) + strlen(e->named.file) + strlen(e->named.package);
		break;
	default:
		break;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];
	uint64_t sum = 0;
	FILE *f = len ? fmemopen((void *)data, len, "r") : NULL;

	if (!f || source_replay_new(f, "fuzz", &s, why))
		return 0;
	for (unsigned i = 0; i < s->nevents; i++)
		sum += strlen(s->events[i].name);
	s->ops->start(s);
	s->ops->drain(s, UINT64_MAX / 2, touch, &sum);
	s->ops->stop(s);
	s->ops->drain(s, 0, touch, &sum);
	s->ops->stats(s, &stats);
	s->ops->free(s);
	// Keeps the reads from being optimised away.
	__asm__ volatile("" : : "r"(sum));
	return 0;
}

static void add_all(struct record_writer *w)
{
	static const uint64_t words[] = {1, 2, 3};
	struct rec_handoff h = {.valid = 1, .stack_base = 4096, .stack_len = 24};
	struct rec_sample rec = {.flags = REC_F_HANDOFF,
		.kernel_words = 2,
		.user_words = 3,
		.outcome = REC_OUT_HANDOFF,
		.comm = "x"};
	struct capture_event e[] = {
		{.type = CAPTURE_SAMPLE,
			.sample = {&rec, words, words, &h, (const uint8_t *)words}},
		{.type = CAPTURE_MMAP, .mmap = {.path = "/bin/x", .build_id_len = 20}},
		{.type = CAPTURE_COMM, .comm = {"name", true}},
		{.type = CAPTURE_FORK, .fork = {1, 1}},
		{.type = CAPTURE_EXIT, .fork = {1, 1}},
		{.type = CAPTURE_CGROUP, .cgroup = {1, "/a"}},
		{.type = CAPTURE_KSYMBOL, .ksymbol = {1, 1, true, "k"}},
		{.type = CAPTURE_LOST, .lost = {1, true}},
		{.type = CAPTURE_THROTTLE, .throttle = {true}},
		{.type = CAPTURE_NAMED, .named = {words, 2, 1, 1, false, "c", "n", "f", "p"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(e); i++)
		record_writer_add(w, &e[i]);
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const struct capture_source source = {
		.frequency = 99, .ncpus = 2, .nevents = 1, .events = {{"cpu-clock", 1, 0}}};
	struct capture_stats stats = {0};
	char path[] = "/tmp/fuzz-replay-XXXXXX";
	struct record_writer w;
	int fd, r;

	if (n > 1)
		return -1;
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	r = record_writer_open(&w, path, &source);
	if (!r) {
		if (n)
			add_all(&w);
		r = record_writer_commit(&w, n ? &stats : NULL);
		record_writer_close(&w);
	}
	if (!r)
		r = fs_read_file(path, out);
	unlink(path);
	return r ? -1 : 0;
}
