/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON, without libc. Bytes above 0x7e become \u00xx, so every name survives. */
#include "probe.h"

static char buffer[1 << 16];
static size_t used;
static bool first = true;

static void flush(void)
{
	for (size_t done = 0; done < used;) {
		long n = sys_write(1, buffer + done, used - done);

		if (n <= 0)
			sys_exit(3);
		done += (size_t)n;
	}
	used = 0;
}

static void put(char byte)
{
	if (used == sizeof buffer)
		flush();
	buffer[used++] = byte;
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_number(int64_t value)
{
	char digits[24];

	if (value < 0)
		put('-');
	number_append(digits, digits + sizeof digits,
		      value < 0 ? -(uint64_t)value : (uint64_t)value);
	put_text(digits);
}

static void separate(void)
{
	put_text(first ? "" : ", ");
	first = false;
}

static void put_name(const char *name)
{
	if (first)
		put('{');
	separate();
	put('"');
	put_text(name);
	put_text("\": ");
}

void out_text(const char *name, const char *bytes, size_t size)
{
	static const char hex[] = "0123456789abcdef";

	put_name(name);
	put('"');
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\') {
			put((char)byte);
			continue;
		}
		put_text("\\u00");
		put(hex[byte >> 4]);
		put(hex[byte & 15]);
	}
	put('"');
}

void out_number(const char *name, int64_t value)
{
	put_name(name);
	put_number(value);
}

void out_open(const char *name)
{
	put_name(name);
	put('[');
	first = true;
}

void out_element(int64_t value)
{
	separate();
	put_number(value);
}

void out_close(void)
{
	put(']');
	first = false;
}

void out_line(void)
{
	put_text("}\n");
	first = true;
	flush();
}

void tell(const char *what, int64_t result)
{
	out_text("what", what, text_length(what));
	out_number("result", result);
	out_line();
}
