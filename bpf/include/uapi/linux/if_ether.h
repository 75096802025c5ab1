/* Nothing: BCC's proto.h asks for it. */
