/* Nothing: BCC puts its own copy in this file's place. */
