/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/curl_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/log.h"
#include "delivery/shared_library.h"

#define LOGGER "gprofiler.http"

struct loading {
	pthread_once_t once;
	bool loaded;
	struct curl_library library;
};

static struct loading *the_loading(void)
{
	static struct loading loading = {.once = PTHREAD_ONCE_INIT};

	return &loading;
}

static void load(void)
{
	struct loading *l = the_loading();
	struct curl_library *c = &l->library;
	void *handle = dlopen(CURL_LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);

	if (handle)
		l->loaded = shared_library_find(handle, "curl_global_init", &c->global_init) &&
			    shared_library_find(handle, "curl_easy_init", &c->easy_init) &&
			    shared_library_find(handle, "curl_easy_cleanup", &c->easy_cleanup) &&
			    shared_library_find(handle, "curl_easy_setopt", &c->easy_setopt) &&
			    shared_library_find(handle, "curl_easy_perform", &c->easy_perform) &&
			    shared_library_find(handle, "curl_easy_getinfo", &c->easy_getinfo) &&
			    shared_library_find(handle, "curl_easy_strerror", &c->easy_strerror) &&
			    shared_library_find(handle, "curl_slist_append", &c->slist_append) &&
			    shared_library_find(handle, "curl_slist_free_all", &c->slist_free_all);
	if (!l->loaded || c->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		l->loaded = false;
		log_error(LOGGER,
			"Nothing can be sent: " CURL_LIBRARY_NAME
			" is not there (%s). Install libcurl "
			"(Debian: apt-get install libcurl4)",
			handle ? "it lacks functions" : dlerror());
	}
}

const struct curl_library *curl_library(void)
{
	struct loading *l = the_loading();

	pthread_once(&l->once, load);
	return l->loaded ? &l->library : NULL;
}
