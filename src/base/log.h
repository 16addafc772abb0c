/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.h -- the program's log.
 *
 * One process-wide sink (the only mutable file statics of the program live in log.c). A line is
 * `[YYYY-MM-DD HH:MM:SS,mmm] LEVEL: logger: message` in UTC (gprofiler-agent.md 1.8, read by the
 * reference's tests and log tools). The console gets INFO and up (DEBUG with verbose), the file
 * gets everything and is rotated by size. A console that nobody reads is never waited for: its lines are
 * counted, and said once it is read again. Rooms below agent/ log at debug only; the owner that
 * decides policy logs once. Thread-safe. */
#ifndef GP_BASE_LOG_H
#define GP_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_CRITICAL,
};

struct log_config {
	bool verbose; // console shows DEBUG too
	bool console_stderr; // console lines go to stderr (verbs whose stdout is data)
	const char *file; // NULL or empty: no file
	size_t rotate_size; // bytes; 0 = never rotate
	unsigned rotate_count; // FILE.1 .. FILE.n are kept
};

/* Opens the file (parents are created). Return 0 or -errno: the console works even then. */
int log_open(const struct log_config *config);
/* Whether the console shows DEBUG too, from now on. */
void log_set_verbose(bool verbose);
/* Closes and reopens the file by name, for external rotation. */
int log_reopen(void);
void log_close(void);

/* Lines of that level or above emitted so far; the ledger of errors. */
unsigned long log_count(enum log_level level);

/* True if a line of this level would go anywhere: guard for costly arguments. */
bool log_enabled(enum log_level level);

/* Hands every line, of every level, to fn too (text without time, level and logger; not terminated by
 * a newline). Called with the log's lock held: fn must be quick and must not log. NULL ends it; no
 * call is under way when that returns. */
typedef void (*log_tee_fn)(
	void *arg, enum log_level level, const char *logger, const char *text, size_t len);
void log_tee(log_tee_fn fn, void *arg);

void log_line(enum log_level level, const char *logger, const char *fmt, ...) _printf_(3, 4);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_critical(...) log_line(LOG_LEVEL_CRITICAL, __VA_ARGS__)

/* Emits at most once per call site and process; later calls go to DEBUG. */
#define log_once(level, logger, ...)                                                               \
	do {                                                                                       \
		static bool said_;                                                                 \
		log_line(said_ ? LOG_LEVEL_DEBUG : (level), (logger), __VA_ARGS__);                \
		said_ = true;                                                                      \
	} while (0)

#endif
