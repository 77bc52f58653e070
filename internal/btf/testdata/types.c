// One of each kind.
typedef unsigned int u32;
typedef struct node node_t;
struct fwd;
union fwdu;
enum small { A, B = 7, C = -1 };
enum big { HUGE = 0x100000000ull, TINY = 1 };
#define __tag(x) __attribute__((btf_type_tag(x)))
#define __decl(x) __attribute__((btf_decl_tag(x)))

struct node {
	node_t *next;
	struct fwd *fwd;
	union fwdu *fwdu;
	const volatile u32 words[2][3];
	int (*callback)(struct node *self, const char *restrict fmt, ...);
	int (*table[4])(void);
	unsigned int bits : 3, more : 5;
	_Bool flag;
	double d;
	float f;
	struct {
		short x;
		union {
			long l;
			char c;
		};
	} inner;
	enum small s;
	enum big b;
	int __tag("user") *tagged;
	int (*array_ptr)[5];
	char *const volatile cv;
} __decl("on_struct");

struct node global_node = { .flag = 1 };
static volatile int static_int = 4;
extern int outside;

static __attribute__((noinline)) int fn_static(int n) { return n + static_int; }
__attribute__((noinline)) int fn_global(struct node *n, int b __decl("on_param")) { return fn_static(b) + n->flag + outside; }
long fn_void(void) { return (long)&global_node; }
