/* SPDX-License-Identifier: Apache-2.0 */
/* C++: templates, virtual calls, operators and exceptions thrown through frames with cleanups. */
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/workloads/workload.h"

namespace shapes
{
struct Number {
	long value;
	__attribute__((noinline)) Number operator+(const Number &other) const
	{
		burn_here(20);
		return {value + other.value};
	}
};

template <typename T> struct Walker {
	virtual ~Walker() = default;
	__attribute__((noinline)) virtual T step(const std::vector<T> &items)
	{
		T sum{0};
		for (const T &item : items)
			sum = sum + item;
		return sum;
	}
};
} // namespace shapes

struct Guard {
	std::string text = "cleanup";
	__attribute__((noinline)) ~Guard()
	{
		burn_here(5);
	}
};

__attribute__((noinline)) void thrower(int depth)
{
	Guard guard;
	if (depth > 0)
		thrower(depth - 1);
	else
		throw std::runtime_error("bottom");
	barrier();
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);
	std::vector<shapes::Number> items(40, shapes::Number{1});
	shapes::Walker<shapes::Number> walker;
	std::map<std::string, long> counts;

	while (now_ns() < end) {
		counts["sum"] += walker.step(items).value;
		try {
			thrower(20);
		} catch (const std::exception &e) {
			counts[e.what()]++;
		}
	}
	return counts.size() != 2;
}
