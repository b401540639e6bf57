package infra

import (
	"encoding/binary"
	"encoding/hex"
)

// The init: it blocks all signals and takes them one after the other, so it needs no
// handlers, and the kernel, which keeps signals without a handler from process 1,
// keeps none of these back.
//
//	sigprocmask(SIG_BLOCK, all)
//	for {
//		switch sigtimedwait(all) {
//		case SIGTERM, SIGINT, SIGQUIT:
//			exit(0)
//		case SIGCHLD: // several deaths may be one signal
//			for wait4(-1, WNOHANG) > 0 {}
//		case < 0, but not EINTR: // a rule of seccomp, say
//			exit(1)
//		}
//	}

// instruction is one of an init, with the label that it has and the one that it
// refers to.
type instruction struct {
	label string
	code  string // hex, without the distance to the label to
	to    string
	text  string
}

// amd64 ends code that refers to a label in the distance from the instruction's end:
// one byte, and four in lea.
func amd64() []instruction {
	return []instruction{
		{"", "31ff", "", "xor edi, edi        ; SIG_BLOCK"},
		{"", "488d35", "all", "lea rsi, [rip+all]"},
		{"", "31d2", "", "xor edx, edx        ; the old ones do not matter"},
		{"", "41ba08000000", "", "mov r10d, 8         ; size of the set"},
		{"", "b80e000000", "", "mov eax, 14         ; rt_sigprocmask"},
		{"", "0f05", "", "syscall"},

		{"next", "488d3d", "all", "lea rdi, [rip+all]"},
		{"", "31f6", "", "xor esi, esi        ; no details"},
		{"", "31d2", "", "xor edx, edx        ; no end of time"},
		{"", "41ba08000000", "", "mov r10d, 8"},
		{"", "b880000000", "", "mov eax, 128        ; rt_sigtimedwait"},
		{"", "0f05", "", "syscall"},
		{"", "83f80f", "", "cmp eax, 15         ; SIGTERM"},
		{"", "74", "out", "je out"},
		{"", "83f802", "", "cmp eax, 2          ; SIGINT"},
		{"", "74", "out", "je out"},
		{"", "83f803", "", "cmp eax, 3          ; SIGQUIT"},
		{"", "74", "out", "je out"},
		{"", "83f811", "", "cmp eax, 17         ; SIGCHLD"},
		{"", "74", "reap", "je reap"},
		{"", "83f8fc", "", "cmp eax, -4         ; EINTR: stopped and continued"},
		{"", "74", "next", "je next"},
		{"", "85c0", "", "test eax, eax"},
		{"", "79", "next", "jns next"},
		{"", "bf01000000", "", "mov edi, 1"},
		{"", "eb", "exit", "jmp exit"},

		{"reap", "83cfff", "", "or edi, -1          ; any child"},
		{"", "31f6", "", "xor esi, esi        ; how it ended does not matter"},
		{"", "ba01000000", "", "mov edx, 1          ; WNOHANG"},
		{"", "4531d2", "", "xor r10d, r10d      ; nor what it used"},
		{"", "b83d000000", "", "mov eax, 61         ; wait4"},
		{"", "0f05", "", "syscall"},
		{"", "85c0", "", "test eax, eax"},
		{"", "7f", "reap", "jg reap"},
		{"", "eb", "next", "jmp next"},

		{"out", "31ff", "", "xor edi, edi"},
		{"exit", "b8e7000000", "", "mov eax, 231        ; exit_group"},
		{"", "0f05", "", "syscall"},
		{"all", "ffffffffffffffff", "", "all signals"},
	}
}

// arm64 has the distance inside of the instruction, see distance.
func arm64() []instruction {
	return []instruction{
		{"", "d2800000", "", "mov x0, 0           // SIG_BLOCK"},
		{"", "10000001", "all", "adr x1, all"},
		{"", "d2800002", "", "mov x2, 0           // the old ones do not matter"},
		{"", "d2800103", "", "mov x3, 8           // size of the set"},
		{"", "d28010e8", "", "mov x8, 135         // rt_sigprocmask"},
		{"", "d4000001", "", "svc 0"},

		{"next", "10000000", "all", "adr x0, all"},
		{"", "d2800001", "", "mov x1, 0           // no details"},
		{"", "d2800002", "", "mov x2, 0           // no end of time"},
		{"", "d2800103", "", "mov x3, 8"},
		{"", "d2801128", "", "mov x8, 137         // rt_sigtimedwait"},
		{"", "d4000001", "", "svc 0"},
		{"", "71003c1f", "", "cmp w0, 15          // SIGTERM"},
		{"", "54000000", "out", "b.eq out"},
		{"", "7100081f", "", "cmp w0, 2           // SIGINT"},
		{"", "54000000", "out", "b.eq out"},
		{"", "71000c1f", "", "cmp w0, 3           // SIGQUIT"},
		{"", "54000000", "out", "b.eq out"},
		{"", "7100441f", "", "cmp w0, 17          // SIGCHLD"},
		{"", "54000000", "reap", "b.eq reap"},
		{"", "3100101f", "", "cmn w0, 4           // EINTR: stopped and continued"},
		{"", "54000000", "next", "b.eq next"},
		{"", "7100001f", "", "cmp w0, 0"},
		{"", "5400000a", "next", "b.ge next"},
		{"", "d2800020", "", "mov x0, 1"},
		{"", "14000000", "exit", "b exit"},

		{"reap", "92800000", "", "mov x0, -1          // any child"},
		{"", "d2800001", "", "mov x1, 0           // how it ended does not matter"},
		{"", "d2800022", "", "mov x2, 1           // WNOHANG"},
		{"", "d2800003", "", "mov x3, 0           // nor what it used"},
		{"", "d2802088", "", "mov x8, 260         // wait4"},
		{"", "d4000001", "", "svc 0"},
		{"", "7100001f", "", "cmp w0, 0"},
		{"", "5400000c", "reap", "b.gt reap"},
		{"", "14000000", "next", "b next"},

		{"out", "d2800000", "", "mov x0, 0"},
		{"exit", "d2800bc8", "", "mov x8, 94          // exit_group"},
		{"", "d4000001", "", "svc 0"},
		{"all", "ffffffff", "", "all signals"},
		{"", "ffffffff", "", ""},
	}
}

// linkAMD64 is the bytes of a program.
func linkAMD64(program []instruction) []byte {
	size := func(i instruction) int {
		n := len(i.code) / 2
		switch {
		case i.to == "":
			return n
		case n == 3: // lea
			return n + 4
		}
		return n + 1
	}
	at := places(program, size)
	var out []byte
	for _, i := range program {
		end := len(out) + size(i)
		out = append(out, decode(i.code)...)
		if i.to == "" {
			continue
		}
		d := at[i.to] - end
		for range end - len(out) {
			out = append(out, byte(d))
			d >>= 8
		}
	}
	return out
}

// linkARM64 is the bytes of a program.
func linkARM64(program []instruction) []byte {
	at := places(program, func(instruction) int { return 4 })
	var out []byte
	for _, i := range program {
		word := binary.BigEndian.Uint32(decode(i.code))
		if i.to != "" {
			word |= distance(word, at[i.to]-len(out))
		}
		out = binary.LittleEndian.AppendUint32(out, word)
	}
	return out
}

// distance is a distance as an instruction of arm64 has it: b in 26 bits, b.cond in
// 19 bits from bit 5 on, both in words; adr in bytes, the lowest two apart.
func distance(word uint32, bytes int) uint32 {
	d := uint32(bytes)
	switch {
	case word>>26 == 0b000101: // b
		return d >> 2 & (1<<26 - 1)
	case word>>24 == 0b01010100: // b.cond
		return d >> 2 & (1<<19 - 1) << 5
	}
	return d&3<<29 | d>>2&(1<<19-1)<<5 // adr
}

func places(program []instruction, size func(instruction) int) map[string]int {
	at := map[string]int{}
	pos := 0
	for _, i := range program {
		if i.label != "" {
			at[i.label] = pos
		}
		pos += size(i)
	}
	return at
}

func decode(code string) []byte {
	b, err := hex.DecodeString(code)
	if err != nil {
		panic("code of the init: " + err.Error()) // of a table above
	}
	return b
}
