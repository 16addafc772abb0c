/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/shared_library.h"

#include <dlfcn.h>
#include <string.h>

bool shared_library_find(void *handle, const char *name, void *ret_function)
{
	void *symbol = dlsym(handle, name);

	// ISO C has no conversion between the two kinds of pointers; POSIX promises equal bytes.
	memcpy(ret_function, &symbol, sizeof(symbol));
	return symbol != NULL;
}
