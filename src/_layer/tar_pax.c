/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended headers (pax(1), "pax Extended Header"): records "LENGTH KEY=VALUE\n", where LENGTH
 * counts all of the record. A value may have any bytes.
 */
#include "layer.h"

enum { PERCENT_DIGITS = 2 };

static struct region records;
static bool present;

struct record {
	const char *key, *value;
	size_t key_size, value_size;
};

static _Noreturn void malformed(void)
{
	fail("malformed-pax", 0, NULL);
}

/* false: that was the last */
static bool next_record(size_t *at, struct record *record)
{
	size_t rest = records.used - *at, length = 0, digits = 0, equals;
	const char *text = records.base + *at;

	if (rest == 0)
		return false;
	for (; digits < rest && text[digits] >= '0' && text[digits] <= '9'; digits++) {
		if (length > rest)
			malformed();
		length = length * 10 + (size_t)(text[digits] - '0');
	}
	if (digits == 0 || digits == rest || text[digits] != ' ' || length > rest ||
	    length < digits + 3 || text[length - 1] != '\n')
		malformed();
	equals = digits + 1;
	while (equals < length - 1 && text[equals] != '=' && text[equals] != '\0')
		equals++;
	if (equals == digits + 1 || text[equals] != '=')
		malformed();
	*record = (struct record){ text + digits + 1, text + equals + 1, equals - digits - 1,
				   length - equals - 2 };
	*at += length;
	return true;
}

static bool has_key(const struct record *record, const char *key)
{
	return record->key_size == text_length(key) &&
	       bytes_equal(record->key, key, record->key_size);
}

void pax_read(uint64_t size)
{
	struct record record;
	size_t at = 0;

	region_empty(&records);
	tar_exact(region_add(&records, (size_t)size), size);
	present = true;
	while (next_record(&at, &record))
		;
}

void pax_forget(void)
{
	present = false;
}

/* Decimal, of `size` bytes. Returns how many were digits; too large a number becomes the largest. */
static size_t decimal(const char *text, size_t size, uint64_t *ret)
{
	size_t n = 0;

	*ret = 0;
	for (; n < size && text[n] >= '0' && text[n] <= '9'; n++) {
		uint64_t digit = (uint64_t)(text[n] - '0');

		*ret = *ret > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *ret * 10 + digit;
	}
	return n;
}

static uint64_t whole_number(const struct record *record, const char *code)
{
	uint64_t number;

	if (record->value_size == 0 ||
	    decimal(record->value, record->value_size, &number) != record->value_size)
		fail(code, 0, NULL);
	return number;
}

/* "-1.25" is a quarter of a second after -2. */
static void parse_time(const struct record *record, int64_t *ret, uint32_t *ret_ns)
{
	const char *text = record->value;
	size_t size = record->value_size, digits;
	bool negative = size && text[0] == '-';
	uint64_t seconds;
	uint32_t ns = 0, unit = 100000000;

	text += negative;
	size -= negative;
	digits = decimal(text, size, &seconds);
	if (digits == 0 || (digits < size && text[digits] != '.'))
		fail("malformed-pax", 0, "time");
	if (seconds > INT64_MAX)
		seconds = INT64_MAX;
	for (size_t i = digits + 1; i < size; i++, unit /= 10) {
		if (text[i] < '0' || text[i] > '9')
			fail("malformed-pax", 0, "time");
		ns += unit * (uint32_t)(text[i] - '0');
	}
	*ret = negative ? -(int64_t)seconds : (int64_t)seconds;
	*ret_ns = ns;
	if (negative && ns) {
		*ret -= *ret != INT64_MIN;
		*ret_ns = 1000000000 - ns;
	}
}

/* "offset,size,offset,size" (GNU.sparse.map) */
static void parse_map(const struct record *record)
{
	const char *text = record->value;
	size_t rest = record->value_size;
	uint64_t numbers[2];

	sparse_begin();
	while (rest) {
		for (int i = 0; i < 2; i++) {
			size_t digits = decimal(text, rest, &numbers[i]);
			bool last = i == 1 && digits == rest;

			if (digits == 0 || (!last && (digits == rest || text[digits] != ',')))
				fail("malformed-sparse", 0, NULL);
			text += digits + !last;
			rest -= digits + !last;
		}
		sparse_add(numbers[0], numbers[1]);
	}
}

static void parse_sparse(struct pax *pax, const struct record *record, uint64_t *offset)
{
	if (has_key(record, "GNU.sparse.name")) {
		pax->sparse_name = record->value;
		pax->sparse_name_size = record->value_size;
	} else if (has_key(record, "GNU.sparse.realsize") || has_key(record, "GNU.sparse.size")) {
		pax->has_real_size = true;
		pax->real_size = whole_number(record, "malformed-sparse");
		pax->sparse = true;
	} else if (has_key(record, "GNU.sparse.major")) {
		pax->sparse_map_in_data = whole_number(record, "malformed-sparse") == 1;
		pax->sparse = true;
	} else if (has_key(record, "GNU.sparse.map")) {
		parse_map(record);
		pax->sparse = true;
	} else if (has_key(record, "GNU.sparse.numblocks")) {
		sparse_begin();
		pax->sparse = true;
	} else if (has_key(record, "GNU.sparse.offset")) {
		*offset = whole_number(record, "malformed-sparse");
	} else if (has_key(record, "GNU.sparse.numbytes")) {
		sparse_add(*offset, whole_number(record, "malformed-sparse"));
		pax->sparse = true;
	}
}

static void parse_number(struct pax *pax, const struct record *record)
{
	if (has_key(record, "size")) {
		pax->has_size = true;
		pax->size = whole_number(record, "invalid-size");
	} else if (has_key(record, "uid")) {
		pax->has_uid = true;
		pax->uid = whole_number(record, "invalid-id");
	} else if (has_key(record, "gid")) {
		pax->has_gid = true;
		pax->gid = whole_number(record, "invalid-id");
	} else if (has_key(record, "mtime")) {
		pax->has_mtime = true;
		parse_time(record, &pax->mtime, &pax->mtime_ns);
	} else if (has_key(record, "atime")) {
		pax->has_atime = true;
		parse_time(record, &pax->atime, &pax->atime_ns);
	}
}

bool pax_parse(struct pax *pax)
{
	struct record record;
	uint64_t offset = 0;
	size_t at = 0;

	*pax = (struct pax){ 0 };
	if (!present)
		return false;
	sparse_begin();
	while (next_record(&at, &record)) {
		if (record.value_size == 0) /* a global header's value is taken back */
			continue;
		if (has_key(&record, "path")) {
			pax->path = record.value;
			pax->path_size = record.value_size;
		} else if (has_key(&record, "linkpath")) {
			pax->link = record.value;
			pax->link_size = record.value_size;
		} else if (starts_with(record.key, "GNU.sparse.")) {
			parse_sparse(pax, &record, &offset);
		} else {
			parse_number(pax, &record);
		}
	}
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

static void xattr_name(struct pax_xattr *xattr, const char *name, size_t size, bool percent)
{
	size_t length = 0;

	for (size_t i = 0; i < size; i++) {
		char c = name[i];

		if (percent && c == '%' && i + PERCENT_DIGITS < size &&
		    hex_digit(name[i + 1]) >= 0 && hex_digit(name[i + 2]) >= 0) {
			c = (char)(hex_digit(name[i + 1]) << 4 | hex_digit(name[i + 2]));
			i += PERCENT_DIGITS;
		}
		if (c == '\0')
			malformed();
		if (length == XATTR_NAME_SIZE - 1)
			fail_limit("xattr_name");
		xattr->name[length++] = c;
	}
	xattr->name[length] = '\0';
}

static int base64_digit(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '+'             ? 62
	       : c == '/'             ? 63
				      : -1;
}

/* LIBARCHIVE.xattr: base64 without padding */
static void base64_value(struct pax_xattr *xattr, const struct record *record)
{
	static char decoded[XATTR_VALUE_MAX];
	uint32_t bits = 0;
	int n_bits = 0;

	xattr->value = decoded;
	xattr->size = 0;
	for (size_t i = 0; i < record->value_size; i++) {
		int digit = base64_digit(record->value[i]);

		if (digit < 0)
			break;
		bits = bits << 6 | (uint32_t)digit;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		if (xattr->size == sizeof decoded)
			fail_limit("xattr");
		decoded[xattr->size++] = (char)(bits >> n_bits & 0xff);
	}
}

bool pax_xattr(size_t *at, struct pax_xattr *xattr)
{
	static const char plain[] = "SCHILY.xattr.", encoded[] = "LIBARCHIVE.xattr.";
	struct record record;

	while (present && next_record(at, &record)) {
		if (record.key_size >= sizeof plain && starts_with(record.key, plain)) {
			xattr_name(xattr, record.key + sizeof plain - 1,
				   record.key_size - (sizeof plain - 1), false);
			xattr->value = record.value;
			xattr->size = record.value_size;
			return true;
		}
		if (record.key_size >= sizeof encoded && starts_with(record.key, encoded)) {
			xattr_name(xattr, record.key + sizeof encoded - 1,
				   record.key_size - (sizeof encoded - 1), true);
			base64_value(xattr, &record);
			return true;
		}
	}
	return false;
}
