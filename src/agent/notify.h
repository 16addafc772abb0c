/* SPDX-License-Identifier: Apache-2.0 */
/* agent/notify.h -- speaks to the service manager that started us (sd_notify(3)): READY, STATUS,
 * STOPPING, RELOADING and the watchdog, as datagrams to $NOTIFY_SOCKET.
 *
 * The few lines that libsystemd would be loaded for. Without the variable all of it does nothing.
 * Main thread. */
#ifndef GP_AGENT_NOTIFY_H
#define GP_AGENT_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

struct notify {
	int fd; // -1: nobody asked
	struct sockaddr_un address;
	unsigned address_len;
	uint64_t interval_ns; // of the watchdog, half of what it allows; 0 none
	uint64_t fed_ns; // CLOCK_MONOTONIC
	char status[200]; // said last
};

/* Reads and removes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID: what we start is not the service. */
void notify_init(struct notify *n);
void notify_deinit(struct notify *n);

void notify_ready(struct notify *n);
void notify_stopping(struct notify *n);
/* SIGHUP: logs are reopened; READY follows at once. */
void notify_reloaded(struct notify *n, uint64_t now_ns);
/* A sentence for `systemctl status`; sent when it changed. */
void notify_status(struct notify *n, const char *text);
/* The main loop is alive: call it at least once a second; sent when due. */
void notify_alive(struct notify *n, uint64_t now_ns);

#endif
