/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"

#define LINE_MAX_BYTES 8192

static struct {
	pthread_mutex_t lock;
	bool verbose;
	bool console_stderr;
	int fd;
	char path[PATH_MAX];
	size_t written;
	size_t rotate_size;
	unsigned rotate_count;
	unsigned long unread; // lines that the console had no room for
	unsigned long counts[LOG_LEVEL_CRITICAL + 1];
	log_tee_fn tee;
	void *tee_arg;
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

static int file_open(void)
{
	struct stat st;
	int fd = open(sink.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	sink.written = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
	sink.fd = fd;
	return 0;
}

static void file_close(void)
{
	if (sink.fd >= 0)
		close(sink.fd);
	sink.fd = -1;
}

/* FILE.n-1 becomes FILE.n, FILE becomes FILE.1; without backups the file starts over. */
static void file_rotate(void)
{
	char from[PATH_MAX + 16], to[PATH_MAX + 16];

	file_close();
	for (unsigned i = sink.rotate_count; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%u", sink.path, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%u", sink.path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", sink.path);
		rename(from, to);
	}
	if (sink.rotate_count == 0)
		unlink(sink.path);
	file_open();
}

int log_open(const struct log_config *config)
{
	int r = 0;

	pthread_mutex_lock(&sink.lock);
	file_close();
	sink.verbose = config->verbose;
	sink.console_stderr = config->console_stderr;
	sink.rotate_size = config->rotate_size;
	sink.rotate_count = config->rotate_count;
	sink.path[0] = 0;
	if (config->file && config->file[0]) {
		if (strlen(config->file) >= sizeof(sink.path)) {
			r = -ENAMETOOLONG;
		} else {
			strncpy(sink.path, config->file, sizeof(sink.path) - 1);
			r = fs_mkdir_parents(sink.path, 0755);
			if (!r)
				r = file_open();
		}
	}
	pthread_mutex_unlock(&sink.lock);
	return r;
}

void log_set_verbose(bool verbose)
{
	pthread_mutex_lock(&sink.lock);
	sink.verbose = verbose;
	pthread_mutex_unlock(&sink.lock);
}

int log_reopen(void)
{
	int r = 0;

	pthread_mutex_lock(&sink.lock);
	if (sink.path[0]) {
		file_close();
		r = file_open();
	}
	pthread_mutex_unlock(&sink.lock);
	return r;
}

void log_close(void)
{
	pthread_mutex_lock(&sink.lock);
	file_close();
	sink.path[0] = 0;
	pthread_mutex_unlock(&sink.lock);
}

void log_tee(log_tee_fn fn, void *arg)
{
	pthread_mutex_lock(&sink.lock);
	sink.tee = fn;
	sink.tee_arg = arg;
	pthread_mutex_unlock(&sink.lock);
}

unsigned long log_count(enum log_level level)
{
	unsigned long n = 0;

	pthread_mutex_lock(&sink.lock);
	for (int i = level; i <= LOG_LEVEL_CRITICAL; i++)
		n += sink.counts[i];
	pthread_mutex_unlock(&sink.lock);
	return n;
}

bool log_enabled(enum log_level level)
{
	return level > LOG_LEVEL_DEBUG || sink.verbose || sink.fd >= 0 || sink.tee;
}

/* "[time] LEVEL: logger: "; returns its length. */
static size_t line_head(char *line, size_t size, enum log_level level, const char *logger)
{
	uint64_t now = clock_real_ns();
	time_t secs = (time_t)(now / NSEC_PER_SEC);
	struct tm tm;
	size_t n;

	gmtime_r(&secs, &tm);
	n = strftime(line, size, "[%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, size - n,
		",%03u] %s: %s: ", (unsigned)(now % NSEC_PER_SEC / NSEC_PER_MSEC),
		level_names[level], logger);
	return MIN(n, size - 2);
}

/* A newline in foreign text must not forge a line of its own, nor an escape sequence move the
 * terminal's cursor; our own texts hold neither. */
static void line_flatten(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)text[i]) && text[i] != '\t')
			text[i] = ' ';
}

/* A pipe or socket that is "writable" takes PIPE_BUF bytes without blocking (pipe(7)). */
static bool console_piece(int fd, const char *data, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) != 0 && fs_write_full(fd, data, n) == 0;
}

static bool console_put(int fd, const char *data, size_t n)
{
	for (size_t at = 0; at < n; at += PIPE_BUF)
		if (!console_piece(fd, data + at, MIN(n - at, (size_t)PIPE_BUF)))
			return false;
	return true;
}

/* Whoever reads the console may have stopped (a full pipe, a terminal on hold): the pipeline must not
 * wait for them, or samples are lost. The file has every line. */
static void console_write(const char *line, size_t n)
{
	int fd = sink.console_stderr ? STDERR_FILENO : STDOUT_FILENO;
	char note[80];

	if (sink.unread) {
		int length = snprintf(note, sizeof(note),
			"(%lu lines left out: nobody was reading)\n", sink.unread);

		if (!console_put(fd, note, (size_t)length)) {
			sink.unread++;
			return;
		}
		sink.unread = 0;
	}
	if (!console_put(fd, line, n))
		sink.unread++;
}

void log_line(enum log_level level, const char *logger, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list args;
	size_t n, body;
	int length;

	if (!log_enabled(level))
		return;
	body = n = line_head(line, sizeof(line), level, logger);
	va_start(args, fmt);
	// Not inside MAX(), which would format twice: the second time past the arguments.
	length = vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	va_end(args);
	n = MIN(n + (size_t)MAX(length, 0), sizeof(line) - 2);
	line_flatten(line + body, n - body);
	line[n++] = '\n';

	pthread_mutex_lock(&sink.lock);
	sink.counts[level]++;
	if (level > LOG_LEVEL_DEBUG || sink.verbose)
		console_write(line, n);
	if (sink.fd >= 0) {
		if (sink.rotate_size && sink.written && sink.written + n > sink.rotate_size)
			file_rotate();
		if (sink.fd >= 0 && fs_write_full(sink.fd, line, n) == 0)
			sink.written += n;
	}
	if (sink.tee)
		sink.tee(sink.tee_arg, level, logger, line + body, n - 1 - body);
	pthread_mutex_unlock(&sink.lock);
}
