/* Nothing: BCC's helpers.h asks for it, and uses it for tables of stack traces only. */
