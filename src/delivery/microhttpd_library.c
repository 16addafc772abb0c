/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/microhttpd_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "delivery/shared_library.h"

#define ABSENT MICROHTTPD_LIBRARY_NAME " is not there (Debian: apt-get install libmicrohttpd12)"
#define LACKING MICROHTTPD_LIBRARY_NAME " lacks functions; it is too old"

struct loading {
	pthread_once_t once;
	const char *why; // NULL: loaded
	struct microhttpd_library library;
};

static struct loading *the_loading(void)
{
	static struct loading loading = {.once = PTHREAD_ONCE_INIT};

	return &loading;
}

static void load(void)
{
	struct loading *l = the_loading();
	struct microhttpd_library *m = &l->library;
	void *handle = dlopen(MICROHTTPD_LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);
	bool found;

	found = handle && shared_library_find(handle, "MHD_start_daemon", &m->start_daemon) &&
		shared_library_find(handle, "MHD_stop_daemon", &m->stop_daemon) &&
		shared_library_find(handle, "MHD_get_daemon_info", &m->get_daemon_info) &&
		shared_library_find(handle, "MHD_create_response_from_buffer",
			&m->create_response_from_buffer) &&
		shared_library_find(handle, "MHD_add_response_header", &m->add_response_header) &&
		shared_library_find(handle, "MHD_queue_response", &m->queue_response) &&
		shared_library_find(handle, "MHD_destroy_response", &m->destroy_response);
	l->why = !handle ? ABSENT : !found ? LACKING : NULL;
}

const struct microhttpd_library *microhttpd_library(const char **ret_why)
{
	struct loading *l = the_loading();

	pthread_once(&l->once, load);
	*ret_why = l->why;
	return l->why ? NULL : &l->library;
}
