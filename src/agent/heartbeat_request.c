/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/heartbeat_request.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/inventory.h"
#include "agent/metadata.h"
#include "agent/system_facts.h"
#include "base/clock.h"
#include "capture/event_find.h"

#define INVENTORY_NS (30 * NSEC_PER_SEC)

void heartbeat_request_init(struct heartbeat_request *q, const char *hostname, const char *service)
{
	*q = (struct heartbeat_request){.hostname = hostname, .service = service};
}

void heartbeat_request_deinit(struct heartbeat_request *q)
{
	json_decref(q->events);
	json_decref(q->containers);
	q->events = q->containers = NULL;
}

/* The address that speaks to the world; no packet is sent. */
static void own_address(char ret[INET_ADDRSTRLEN])
{
	const struct sockaddr_in world = {
		.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x08080808)};
	struct sockaddr_in own = {0};
	socklen_t len = sizeof(own);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ret, INET_ADDRSTRLEN, "127.0.0.1");
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&world, sizeof(world)) == 0 &&
		getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		inet_ntop(AF_INET, &own.sin_addr, ret, INET_ADDRSTRLEN);
}

/* Those of the reference's list, sorted; "cycles" if there is none, as it says. */
static json_t *supported_events(void)
{
	static const char *const names[] = {"branch-instructions", "branch-misses", "cache-misses",
		"cache-references", "cycles", "instructions", "stalled-cycles-backend",
		"stalled-cycles-frontend"};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (event_probe(names[i]) == 0)
			json_array_append_new(list, json_string(names[i]));
	if (!json_array_size(list))
		json_array_append_new(list, json_string("cycles"));
	return list;
}

static json_t *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? json_text(value) : json_null();
}

static json_t *now_utc(void)
{
	uint64_t now = clock_real_ns();
	char when[32], text[64];

	clock_iso_utc(now, when);
	snprintf(text, sizeof(text), "%s.%06llu", when,
		(unsigned long long)(now % NSEC_PER_SEC / 1000));
	return json_string(text);
}

static bool may_say(const struct heartbeat_request *q, const char *id)
{
	return id[0] && (!q->uuids_only || remote_id_is_uuid(id));
}

static json_t *ids(
	const struct heartbeat_request *q, const struct command_history *h, bool executed)
{
	json_t *list = json_array();

	vec_foreach (e, &h->entries)
		if ((!executed || e->executed) && may_say(q, e->id))
			json_array_append_new(list, json_string(e->id));
	return list;
}

json_t *heartbeat_request_make(
	struct heartbeat_request *q, const struct command_history *h, const char *last_id)
{
	uint64_t now = clock_mono_ns();
	char address[INET_ADDRSTRLEN];
	json_t *o = json_object();

	if (!q->events)
		q->events = supported_events();
	if (!q->containers || now - q->taken > INVENTORY_NS) {
		json_decref(q->containers);
		q->containers = inventory_take("/proc");
		q->taken = now;
	}
	own_address(address);
	json_object_set_new(o, "ip_address", json_string(address));
	json_object_set_new(o, "hostname", json_text(q->hostname));
	json_object_set_new(o, "service_name", json_text(q->service));
	json_object_set_new(
		o, "last_command_id", may_say(q, last_id) ? json_string(last_id) : json_null());
	json_object_set_new(o, "status", json_string("active"));
	json_object_set_new(o, "timestamp", now_utc());
	json_object_set_new(o, "received_command_ids", ids(q, h, false));
	json_object_set_new(o, "executed_command_ids", ids(q, h, true));
	json_object_set(o, "perf_supported_events", q->events);
	json_object_set_new(o, "agent_version", json_string(GP_VERSION));
	json_object_set_new(o, "run_mode", json_string(system_run_mode()));
	json_object_set_new(o, "namespace", environment("POD_NAMESPACE"));
	json_object_set_new(o, "pod_name", environment("POD_NAME"));
	if (q->no_containers)
		json_object_set_new(o, "containers", json_array());
	else
		json_object_set(o, "containers", q->containers);
	if (json_object_size(o) == 14)
		return o;
	json_decref(o);
	return NULL;
}
