/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/shared_library.h -- functions of libraries that are loaded when something needs them. */
#ifndef GP_DELIVERY_SHARED_LIBRARY_H
#define GP_DELIVERY_SHARED_LIBRARY_H

#include <stdbool.h>

/* The function of that name, of a handle of dlopen(). ret_function points to a pointer to a function of
 * the right type. Return false: the library has none, and the pointer is NULL. */
bool shared_library_find(void *handle, const char *name, void *ret_function);

#endif
