/* SPDX-License-Identifier: Apache-2.0 */
/* capture/record_file.h -- captured records in a file, and back.
 *
 * Layout, little-endian:
 *	header   magic[8] "GPRECORD", u32 version, u32 frequency, u32 ncpus, u32 nevents,
 *	         u16 sizeof(struct rec_sample), u16 sizeof(struct rec_handoff), u32 0
 *	event    nevents times: u32 perf_type, u32 0, u64 perf_config, char name[32]
 *	record   u32 bytes of the payload, u32 type (enum capture_event_type, or RECORD_STATS)
 *	payload  u32 cpu, pid, tid, 0, u64 time, then by type: the numbers of struct capture_event in
 *	         the order of their declaration, then the text with its NUL; a sample as abi/record.h
 * Records are in order of delivery. Reading takes every byte for hostile. The version changes with
 * the layout; there is no reading of older ones.
 *
 * One owner, any thread. */
#ifndef GP_CAPTURE_RECORD_FILE_H
#define GP_CAPTURE_RECORD_FILE_H

#include <stdio.h>

#include "base/buf.h"
#include "base/fs.h"
#include "capture/source.h"

#define RECORD_MAGIC "GPRECORD"
#define RECORD_VERSION 3 // 2: counters of each event, vDSO; 3: names of interpreter frames
#define RECORD_NAME_LEN 32
#define RECORD_PAYLOAD_MAX (256u << 10)
#define RECORD_STATS 0x100 // the last record: struct capture_stats, as it lies in memory
#define RECORD_VDSO 0x101 // the first record: the kernel's vDSO, which is in no file
#define RECORD_VDSO_MAX 65536u

struct record_writer {
	struct fs_atomic file;
	struct buf payload;
	int error; // first failure: nothing is written after it
};

/* Starts a file that appears at `path` when it is committed; the source tells what is sampled.
 * Return 0 or -errno. */
int record_writer_open(
	struct record_writer *w, const char *path, const struct capture_source *source);
/* Adds one. Return 0 or the first error. */
int record_writer_add(struct record_writer *w, const struct capture_event *event);
/* Ends with the counts (may be NULL). Return 0 or the first error, the file then absent. */
int record_writer_commit(struct record_writer *w, const struct capture_stats *stats);
/* Drops the file unless it was committed. */
void record_writer_close(struct record_writer *w);

struct record_reader {
	FILE *f; // owned
	uint32_t frequency, ncpus, nevents;
	struct capture_perf_event events[CAPTURE_EVENTS_MAX]; // names lie in `names`
	char names[CAPTURE_EVENTS_MAX][RECORD_NAME_LEN];
	void *payload; // of the last record
	uint64_t words[CAPTURE_NAMED_WORDS]; // of the last record, aligned
	bool has_stats;
	struct capture_stats stats; // of the last record
	uint8_t *vdso; // NULL none
	size_t vdso_len;
};

/* Takes over f. Return 0 or -errno, -EBADMSG: no such file format, another version, malformed. */
int record_reader_init(struct record_reader *r, FILE *f);
void record_reader_deinit(struct record_reader *r);
/* The next record; its pointers live until the next call. Return 1, 0 at the end, -EBADMSG
 * malformed or cut, -errno. */
int record_reader_next(struct record_reader *r, struct capture_event *ret);

/* A source that does all that `inner` does, and writes what it hands out to a file, which appears when the
 * source is freed after a last drain of everything. A record is written after it was handed out, so that
 * what is said of it by keep() comes before it. Before the first record it writes what runs
 * already (fork, comm and mmap records made from /proc), so that the file tells of every process. A
 * failed write ends the recording, not the capture. Takes over inner, also on failure. Return 0 or
 * -errno with why. */
int capture_source_record_new(
	struct capture_source *inner, const char *path, struct capture_source **ret, char *why);

#endif
