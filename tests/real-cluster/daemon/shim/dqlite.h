/* Debian's dqlite 1.11 before go-dqlite 2, which asks for 1.17 and refuses to start below it. Of
   what Debian's lacks, two functions are named by go-dqlite and called by nothing here. */
#include <stdint.h>
#define dqlite_version_number dqlite_version_number_of_the_library
#include_next <dqlite.h>
#undef dqlite_version_number
static inline int dqlite_version_number(void) { return 11700; }
static inline int dqlite_node_enable_disk_mode(dqlite_node *n) { (void)n; return 1; }
static inline int dqlite_node_describe_last_entry(dqlite_node *n, uint64_t *index, uint64_t *term)
{ (void)n; (void)index; (void)term; return 1; }
