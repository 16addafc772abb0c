/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/run_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define SYSTEM_DIR "/var/lib/gprofiler"
#define FILE_NAME "last_run"
#define MAGIC "gprofiler run 1\n"
#define STATE_AT (sizeof(MAGIC) - 1) // where a signal handler writes
#define TEXT_MAX 1024
#define SEEN_NS (30 * NSEC_PER_SEC)
#define KEY_MAX 24

static const char *const end_names[RUN_ENDS] = {
	[RUN_END_CLEAN] = "clean",
	[RUN_END_FAILED] = "failed",
	[RUN_END_CRASH] = "crash",
	[RUN_END_KILLED] = "killed",
	[RUN_END_OOM] = "oom",
	[RUN_END_REBOOT] = "reboot",
};

static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};

const char *run_end_name(enum run_end end)
{
	return end_names[end];
}

/* The descriptor that a handler writes to; -1 none. */
static volatile sig_atomic_t *crash_fd(void)
{
	static volatile sig_atomic_t fd = -1;

	return &fd;
}

/* The value of a line "key value"; NULL if no line has the key. */
static const char *find_line(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, n) && line[n] == ' ')
			return line + n + 1;
	}
	return NULL;
}

static uint64_t number(const char *text, const char *key)
{
	const char *at = find_line(text, key);

	return at ? strtoull(at, NULL, 10) : 0;
}

void run_record_parse(const char *text, size_t len, struct run_facts *ret)
{
	char copy[TEXT_MAX + 1];
	const char *at;

	*ret = (struct run_facts){0};
	len = MIN(len, (size_t)TEXT_MAX);
	memcpy(copy, text, len);
	copy[len] = 0;
	if (strncmp(copy, MAGIC, sizeof(MAGIC) - 1) != 0)
		return;
	at = find_line(copy, "state");
	if (!at)
		return;
	snprintf(ret->state, sizeof(ret->state), "%.*s",
		(int)MIN(strcspn(at, " \n"), sizeof(ret->state) - 1), at);
	at += strcspn(at, " \n");
	ret->signal = (unsigned)strtoul(at, NULL, 10);
	at = find_line(copy, "boot");
	if (at)
		snprintf(ret->boot, sizeof(ret->boot), "%.*s",
			(int)MIN(strcspn(at, " \n"), sizeof(ret->boot) - 1), at);
	ret->started_s = number(copy, "started");
	ret->seen_s = number(copy, "seen");
	ret->oom_kills = number(copy, "oom_kills");
	for (unsigned i = 0; i < RUN_ENDS; i++)
		ret->ended[i] = number(copy, end_names[i]);
	ret->known = true;
}

enum run_end run_record_judge(const struct run_facts *last, const char *boot, uint64_t oom_kills)
{
	if (!strcmp(last->state, "clean"))
		return RUN_END_CLEAN;
	if (!strcmp(last->state, "failed"))
		return RUN_END_FAILED;
	if (!strcmp(last->state, "crash"))
		return RUN_END_CRASH;
	if (strcmp(last->boot, boot) != 0)
		return RUN_END_REBOOT;
	return oom_kills > last->oom_kills ? RUN_END_OOM : RUN_END_KILLED;
}

/* Every text has the same length, so that one pwrite replaces it whole. */
static int write_facts(const struct run_record *r)
{
	const struct run_facts *f = &r->facts;
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	ssize_t n;

	buf_printf(&text, MAGIC "state %-8s %02u\nboot %-36s\n", f->state, f->signal, f->boot);
	buf_printf(&text, "started %020llu\nseen %020llu\noom_kills %020llu\n",
		(unsigned long long)f->started_s, (unsigned long long)f->seen_s,
		(unsigned long long)f->oom_kills);
	for (unsigned i = 0; i < RUN_ENDS; i++)
		buf_printf(&text, "%s %020llu\n", end_names[i], (unsigned long long)f->ended[i]);
	if (text.bad)
		return -ENOMEM;
	n = pwrite(r->fd, text.data, text.len, 0);
	return n < 0 ? -errno : (size_t)n == text.len ? 0 : -ENOSPC;
}

static void on_fatal(int sig)
{
	char line[] = "state crash    00\n";

	line[sizeof(line) - 4] = (char)('0' + sig / 10);
	line[sizeof(line) - 3] = (char)('0' + sig % 10);
	if (pwrite((int)*crash_fd(), line, sizeof(line) - 1, STATE_AT) < 0)
		_exit(128 + sig);
	raise(sig); // the default action is back (SA_RESETHAND)
}

static void catch_fatal(int fd)
{
	struct sigaction action = {.sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER};

	*crash_fd() = fd;
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i], &action, NULL);
}

static void release_fatal(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		signal(fatal[i], SIG_DFL);
	*crash_fd() = -1;
}

static uint64_t machine_oom_kills(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	fs_read_file("/proc/vmstat", &text);
	return number(buf_str(&text), "oom_kill");
}

int run_record_usual_dir(char *ret, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		snprintf(ret, size, "%s", SYSTEM_DIR);
	else if (state && state[0] == '/')
		snprintf(ret, size, "%s/gprofiler", state);
	else if (home && home[0] == '/')
		snprintf(ret, size, "%s/.local/state/gprofiler", home);
	else
		return -ENOENT;
	return 0;
}

static int open_file(const char *dir)
{
	char usual[PATH_MAX - sizeof(FILE_NAME) - 1], path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r = dir && *dir ? 0 : run_record_usual_dir(usual, sizeof(usual));

	if (!r)
		r = fs_mkdir_p(dir && *dir ? dir : usual, 0700);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, dir && *dir ? dir : usual);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	// Two agents with one state directory: the first one's record counts.
	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : steal_fd(&fd);
}

static void log_last(const struct run_facts *last, enum run_end end)
{
	static const char *const what[RUN_ENDS] = {
		[RUN_END_FAILED] = "gave up with an error; the log says which",
		[RUN_END_CRASH] = "crashed",
		[RUN_END_KILLED] = "was killed (SIGKILL); its last window is lost",
		[RUN_END_OOM] = "was killed while the kernel killed for memory: give it more, or "
				"lower --max-memory",
		[RUN_END_REBOOT] = "ended when the machine went down",
	};

	if (end == RUN_END_CRASH)
		log_warning(LOGGER, "The last run %s (signal %u)", what[end], last->signal);
	else if (end != RUN_END_CLEAN)
		log_warning(LOGGER, "The last run %s", what[end]);
}

void run_record_open(struct run_record *r, const char *dir)
{
	char text[TEXT_MAX], boot[37] = "";
	_cleanup_buf_ struct buf id = BUF_INIT(64);
	struct run_facts last;
	ssize_t n;
	int fd = open_file(dir);

	*r = (struct run_record){.fd = fd < 0 ? -1 : fd};
	if (fd < 0) {
		log_debug(LOGGER,
			"No record of runs is kept: %s. Give a directory with --state-dir",
			strerror(-fd));
		return;
	}
	fs_read_file("/proc/sys/kernel/random/boot_id", &id);
	snprintf(boot, sizeof(boot), "%.36s", buf_str(&id));
	n = fs_pread_full(fd, text, sizeof(text), 0);
	run_record_parse(text, (size_t)MAX(n, 0), &last);
	r->facts = last;
	r->facts.oom_kills = machine_oom_kills();
	if (last.known) {
		enum run_end end = run_record_judge(&last, boot, r->facts.oom_kills);

		r->facts.ended[end]++;
		log_last(&last, end);
	}
	snprintf(r->facts.state, sizeof(r->facts.state), "running");
	snprintf(r->facts.boot, sizeof(r->facts.boot), "%s", boot);
	r->facts.signal = 0;
	r->facts.started_s = r->facts.seen_s = clock_real_ns() / NSEC_PER_SEC;
	r->written_ns = clock_mono_ns();
	n = write_facts(r);
	if (n)
		log_debug(LOGGER, "The record of runs cannot be written: %s", strerror((int)-n));
	else
		catch_fatal(fd);
}

void run_record_seen(struct run_record *r, uint64_t now_ns)
{
	if (r->fd < 0 || now_ns - r->written_ns < SEEN_NS)
		return;
	r->written_ns = now_ns;
	r->facts.seen_s = clock_real_ns() / NSEC_PER_SEC;
	r->facts.oom_kills = machine_oom_kills();
	write_facts(r);
}

void run_record_close(struct run_record *r, enum run_end end)
{
	if (r->fd < 0)
		return;
	release_fatal();
	snprintf(r->facts.state, sizeof(r->facts.state), "%s", end_names[end]);
	r->facts.seen_s = clock_real_ns() / NSEC_PER_SEC;
	write_facts(r);
	close(r->fd);
	r->fd = -1;
}
