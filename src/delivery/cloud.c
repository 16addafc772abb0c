/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/cloud.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "delivery/curl_library.h"
#include "delivery/http_client.h"

#define LOGGER "gprofiler.metadata"
#define SERVER "http://169.254.169.254"
#define CONNECT_MS 1500 // it stands beside the machine
#define TOTAL_NS (6 * NSEC_PER_SEC)
#define ANSWER_MAX ((size_t)256 << 10)
#define STACK_BYTES ((size_t)256 << 10)

/* One that is asked. */
struct asking {
	const char *provider;
	json_t *(*ask)(struct asking *a);
	struct race *race;
	struct http_client *client;
	pthread_t thread;
	bool started;
};

#define RUNNERS 3

struct race {
	uint64_t deadline; // CLOCK_MONOTONIC ns
	struct asking runners[RUNNERS];
	pthread_mutex_t lock;
	json_t *found;
	const char *provider;
};

void cloud_enter_host_network(void)
{
	static const struct {
		const char *name;
		int type;
	} spaces[] = {{"net", CLONE_NEWNET}, {"uts", CLONE_NEWUTS}};

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		char host[64], own[64];
		struct stat a, b;
		int fd;

		snprintf(host, sizeof(host), "/proc/1/ns/%s", spaces[i].name);
		snprintf(own, sizeof(own), "/proc/thread-self/ns/%s", spaces[i].name);
		if (stat(host, &a) < 0 || stat(own, &b) < 0 || a.st_ino == b.st_ino)
			continue;
		fd = open(host, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		(void)setns(fd, spaces[i].type);
		close(fd);
	}
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void set(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_text(value));
}

static const char *last_part(const char *s)
{
	const char *slash = s ? strrchr(s, '/') : NULL;

	return slash ? slash + 1 : s;
}

json_t *cloud_aws(const char *document, const char *life_cycle)
{
	_cleanup_json_ json_t *j = json_loads(document, 0, NULL);
	json_t *o;

	if (!text(j, "instanceId"))
		return NULL;
	o = json_object();
	set(o, "region", text(j, "region"));
	set(o, "zone", text(j, "availabilityZone"));
	set(o, "instance_type", text(j, "instanceType"));
	set(o, "life_cycle", life_cycle);
	set(o, "account_id", text(j, "accountId"));
	set(o, "image_id", text(j, "imageId"));
	set(o, "instance_id", text(j, "instanceId"));
	return o;
}

json_t *cloud_fargate(const char *metadata, const char *execution_env, const char *region)
{
	_cleanup_json_ json_t *j = json_loads(metadata, 0, NULL);
	json_t *o;

	if (!text(j, "ContainerARN"))
		return NULL;
	o = json_object();
	set(o, "execution_env", execution_env);
	set(o, "region", region);
	set(o, "container_arn", text(j, "ContainerARN"));
	return o;
}

static bool is_true(const char *s)
{
	return s && strcasecmp(s, "true") == 0;
}

json_t *cloud_gcp(const char *instance)
{
	_cleanup_json_ json_t *j = json_loads(instance, 0, NULL);
	const json_t *id = json_object_get(j, "id");
	char number[32];
	json_t *o;

	if (!text(j, "machineType"))
		return NULL;
	snprintf(number, sizeof(number), "%llu", (unsigned long long)json_integer_value(id));
	o = json_object();
	set(o, "zone", last_part(text(j, "zone")));
	set(o, "instance_type", last_part(text(j, "machineType")));
	json_object_set_new(o, "preempted", json_boolean(is_true(text(j, "preempted"))));
	json_object_set_new(o, "preemptible",
		json_boolean(is_true(text(json_object_get(j, "scheduling"), "preemptible"))));
	set(o, "instance_id", json_is_integer(id) ? number : json_string_value(id));
	set(o, "image_id", text(j, "image"));
	set(o, "name", text(j, "name"));
	return o;
}

json_t *cloud_azure(const char *compute)
{
	static const char *const parts[] = {"id", "offer", "publisher", "sku", "version"};
	_cleanup_json_ json_t *j = json_loads(compute, 0, NULL);
	const json_t *image =
		json_object_get(json_object_get(j, "storageProfile"), "imageReference");
	json_t *o, *info;

	if (!text(j, "vmId"))
		return NULL;
	o = json_object();
	set(o, "instance_type", text(j, "vmSize"));
	set(o, "zone", text(j, "zone"));
	set(o, "region", text(j, "location"));
	set(o, "subscription_id", text(j, "subscriptionId"));
	set(o, "resource_group_name", text(j, "resourceGroupName"));
	set(o, "resource_id", text(j, "resourceId"));
	set(o, "instance_id", text(j, "vmId"));
	set(o, "name", text(j, "name"));
	info = json_is_object(image) ? json_object() : json_null();
	for (size_t i = 0; json_is_object(image) && i < ARRAY_SIZE(parts); i++) {
		char key[32];

		snprintf(key, sizeof(key), "image_%s", parts[i]);
		set(info, key, text(image, parts[i]));
	}
	json_object_set_new(o, "image_info", info);
	return o;
}

struct question {
	const char *method, *url, *header;
};

/* The body of a 200, malloc'ed, or NULL. */
static char *fetch(struct asking *a, const struct question *q)
{
	uint64_t now = clock_mono_ns();
	const char *headers[] = {q->header, NULL};
	_cleanup_http_response_ struct http_response response = {.body = BUF_INIT(ANSWER_MAX)};
	const struct http_request request = {
		.method = q->method,
		.url = q->url,
		.headers = q->header ? headers : NULL,
		.timeout_ms = (unsigned)MIN(
			(a->race->deadline - now) / NSEC_PER_MSEC, (uint64_t)CLOUD_TIMEOUT_MS),
		.connect_timeout_ms = CONNECT_MS,
	};
	int r = HTTP_TIMEOUT;

	if (now + NSEC_PER_MSEC < a->race->deadline)
		r = http_request(a->client, &request, &response);
	if (r || response.status != 200) {
		log_debug(LOGGER, "No cloud at %s: %s (status=%ld)", q->url,
			r ? response.error : "it says so", response.status);
		return NULL;
	}
	return buf_steal(&response.body);
}

static json_t *ask_fargate(struct asking *a)
{
	const char *uri = getenv("ECS_CONTAINER_METADATA_URI_V4");
	_cleanup_free_ char *body = NULL;

	if (!uri || strncmp(uri, "http://", 7) != 0)
		return NULL;
	body = fetch(a, &(struct question){"GET", uri, NULL});
	return body ? cloud_fargate(body, getenv("AWS_EXECUTION_ENV"), getenv("AWS_REGION")) : NULL;
}

static json_t *ask_aws(struct asking *a)
{
	_cleanup_free_ char *token = NULL, *document = NULL, *life = NULL;
	json_t *fargate = ask_fargate(a);
	char header[512];

	if (fargate)
		return fargate;
	token = fetch(a, &(struct question){"PUT", SERVER "/latest/api/token",
				 "X-aws-ec2-metadata-token-ttl-seconds: 120"});
	if (!token || strpbrk(token, "\r\n") ||
		(size_t)snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s", token) >=
			sizeof(header))
		return NULL;
	document = fetch(a, &(struct question){"GET",
				    SERVER "/latest/dynamic/instance-identity/document", header});
	if (!document)
		return NULL;
	life = fetch(a,
		&(struct question){"GET", SERVER "/latest/meta-data/instance-life-cycle", header});
	return cloud_aws(document, life);
}

static json_t *ask_gcp(struct asking *a)
{
	_cleanup_free_ char *body = fetch(
		a, &(struct question){"GET", SERVER "/computeMetadata/v1/instance/?recursive=true",
			   "Metadata-Flavor: Google"});

	return body ? cloud_gcp(body) : NULL;
}

static json_t *ask_azure(struct asking *a)
{
	_cleanup_free_ char *body =
		fetch(a, &(struct question){"GET",
				 SERVER "/metadata/instance/compute/?api-version=2019-08-15",
				 "Metadata: true"});

	return body ? cloud_azure(body) : NULL;
}

/* The first one home ends the race for the others. */
static void *run(void *arg)
{
	struct asking *a = arg;
	json_t *found;

	cloud_enter_host_network();
	found = a->ask(a);
	pthread_mutex_lock(&a->race->lock);
	if (found && !a->race->found) {
		a->race->found = found;
		a->race->provider = a->provider;
		found = NULL;
		for (unsigned i = 0; i < RUNNERS; i++)
			if (a->race->runners[i].client && &a->race->runners[i] != a)
				http_client_abort(a->race->runners[i].client);
	}
	pthread_mutex_unlock(&a->race->lock);
	json_decref(found);
	return NULL;
}

static void start(struct asking *a)
{
	a->started = thread_start(&a->thread, STACK_BYTES, run, a) == 0;
}

json_t *cloud_ask(char provider[CLOUD_PROVIDER_MAX])
{
	static const struct http_config config = {.direct = true};
	struct race race = {
		.deadline = clock_mono_ns() + TOTAL_NS,
		.runners = {{"aws", ask_aws}, {"gcp", ask_gcp}, {"azure", ask_azure}},
	};

	provider[0] = 0;
	// It is loaded from our own root, before a thread goes elsewhere.
	if (!curl_library())
		return NULL;
	pthread_mutex_init(&race.lock, NULL);
	for (unsigned i = 0; i < RUNNERS; i++) {
		race.runners[i].race = &race;
		http_client_new(&config, &race.runners[i].client);
	}
	for (unsigned i = 0; i < RUNNERS; i++)
		if (race.runners[i].client)
			start(&race.runners[i]);
	for (unsigned i = 0; i < RUNNERS; i++)
		if (race.runners[i].started)
			pthread_join(race.runners[i].thread, NULL);
	for (unsigned i = 0; i < RUNNERS; i++)
		http_client_free(race.runners[i].client);
	pthread_mutex_destroy(&race.lock);
	if (race.found)
		snprintf(provider, CLOUD_PROVIDER_MAX, "%s", race.provider);
	return race.found;
}
