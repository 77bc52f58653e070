/* Prints what libbpf says about each section name on its command line, as JSON. */
#include <stdio.h>
#include <bpf/libbpf.h>

static int silent(enum libbpf_print_level level, const char *format, va_list args) { return 0; }

int main(int argc, char **argv)
{
	libbpf_set_print(silent);
	printf("[");
	for (int i = 1; i < argc; i++) {
		enum bpf_prog_type type = 0;
		enum bpf_attach_type attach = 0;
		int err = libbpf_prog_type_by_name(argv[i], &type, &attach);

		printf("%s{\"Major\": %u, \"Minor\": %u, \"Name\": \"%s\", \"Known\": %s, \"Type\": %d, \"Attach\": %d}\n",
		       i > 1 ? "," : "", libbpf_major_version(), libbpf_minor_version(), argv[i],
		       err ? "false" : "true", type, attach);
	}
	printf("]\n");
	return 0;
}
