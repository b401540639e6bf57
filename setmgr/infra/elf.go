package infra

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// base is where the program is in memory. Pages may have 64 KiB on arm64.
const (
	base  = 0x400000
	align = 0x10000
)

// program is an executable file of code: one segment that nobody can write, which
// holds the headers too, and no stack that can be executed.
func program(machine elf.Machine, code []byte) []byte {
	const headers = 64 + 2*56
	size := uint64(headers + len(code))
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	load := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: align,
	}
	stack := elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16}
	var b bytes.Buffer
	for _, part := range []any{head, load, stack, code} {
		_ = binary.Write(&b, binary.LittleEndian, part) // of fixed size, into a buffer
	}
	return b.Bytes()
}
