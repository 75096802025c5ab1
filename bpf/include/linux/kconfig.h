/* Included by BCC before everything else. helpers.h refuses to work without this option. */
#define CONFIG_BPF_SYSCALL 1
