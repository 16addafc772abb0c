/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define NSEC_PER_USEC 1000ull

/* A path, or "@name" of the abstract namespace. Other families of newer managers are not ours to speak. */
static bool parse_address(struct notify *n, const char *text)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(n->address.sun_path))
		return false;
	n->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(n->address.sun_path, text, len);
	if (text[0] == '@')
		n->address.sun_path[0] = 0;
	n->address_len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + len);
	return true;
}

static uint64_t read_interval(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(usec, NULL, 10) * NSEC_PER_USEC / 2;
}

void notify_init(struct notify *n)
{
	const char *text = getenv("NOTIFY_SOCKET");

	*n = (struct notify){.fd = -1};
	if (text && parse_address(n, text)) {
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		n->interval_ns = read_interval();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_deinit(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

/* A manager that is restarted loses a word or two; the watchdog's next one comes soon. */
static void say(struct notify *n, const char *text)
{
	if (n->fd < 0)
		return;
	if (sendto(n->fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&n->address,
		    n->address_len) < 0)
		log_debug(LOGGER, "The service manager did not hear us: %s", strerror(errno));
}

void notify_ready(struct notify *n)
{
	say(n, "READY=1");
}

void notify_stopping(struct notify *n)
{
	say(n, "STOPPING=1\nSTATUS=Writing and sending what was sampled");
}

void notify_reloaded(struct notify *n, uint64_t now_ns)
{
	char text[80];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(now_ns / NSEC_PER_USEC));
	say(n, text);
	say(n, "READY=1");
}

void notify_status(struct notify *n, const char *text)
{
	char line[sizeof(n->status) + 8];

	if (!strcmp(n->status, text))
		return;
	snprintf(n->status, sizeof(n->status), "%s", text);
	snprintf(line, sizeof(line), "STATUS=%s", n->status);
	say(n, line);
}

void notify_alive(struct notify *n, uint64_t now_ns)
{
	if (!n->interval_ns || (n->fed_ns && now_ns - n->fed_ns < n->interval_ns))
		return;
	n->fed_ns = now_ns;
	say(n, "WATCHDOG=1");
}
