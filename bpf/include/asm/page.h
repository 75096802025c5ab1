/* Nothing: BCC's helpers.h asks for it. */
