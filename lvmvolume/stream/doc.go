// Package stream is the format in which a volume leaves one host and enters
// another: to a file, through a pipe, or through ssh.
//
// [Write] turns a [Source] (a block device that does not change meanwhile, so a
// snapshot or an unused volume) into a stream; [Read] brings a stream back onto
// a [Sink]; [Verify] does all of Read but for the sink; [Info] reads the header
// only. A stream is good when Read or Verify return no error: until then a sink
// holds a part of a volume and must not be given to anybody.
//
// A reader accepts nothing that a writer of this page cannot have made. What is
// cut off, changed, repeated, moved, missing or added is a [DamageError], which
// says where. A checksum is no signature: whoever can change a stream on
// purpose can compute its sums again, so keep and carry streams as you would
// the volume.
//
// Memory stays below 32 MiB whatever the volume's size, at [Workers] goroutines
// that compress or decompress. The frames are written in order and depend on
// the source's content only, not on what it knows of its holes: the same
// content under the same header has the same digest.
//
// # Format, version 1
//
// A stream is a header, any number of frames, a trailer, and the end of file.
// Numbers in frames and the trailer are unsigned and big-endian. CRC is the
// CRC-32 of IEEE 802.3, as in zlib and gzip. There is no padding.
//
//	header    line        "mos-volume-stream 1 LENGTH CRC\n"
//	          JSON        LENGTH bytes, and "\n"
//
//	frame     1 byte      "F"
//	          8 bytes     offset: where in the volume the content begins
//	          4 bytes     length of the content, 1 to 1048576
//	          4 bytes     size of the data, 1 to 1056768
//	          size bytes  data: the content as one frame of Zstandard (RFC 8878),
//	                      without a dictionary, window at most 8 MiB
//	          4 bytes     CRC over all of the above, from the "F" on
//
//	trailer   1 byte      "T"
//	          8 bytes     number of frames
//	          8 bytes     sum of the frames' lengths
//	          32 bytes    digest
//	          4 bytes     CRC over all of the above, from the "T" on
//
// The line's parts are parted by one space. 1 is the version. LENGTH is that of
// the JSON, 1 to 65536, in decimal without leading zeros; CRC is that of the
// JSON, without the line feed after it, in eight lower-case hexadecimal digits.
//
// The JSON is one object in UTF-8 with exactly these members, none of them
// twice or null, names in lower case as here:
//
//	volume   string  name: 1 to 255 of A-Z a-z 0-9 _ . - , the first a letter or digit
//	fs       string  "ext4" or "xfs"
//	size     number  bytes of the volume, 1 to 2^60
//	used     number  bytes in use as the file system tells, 0 to size; an estimate
//	created  string  when the stream was begun, RFC 3339
//	host     string  where: 0 to 255 bytes without control characters
//	options  object  at most 64 strings by name; a name has 1 to 64 bytes, a
//	                 value at most 4096, both without control characters
//
// Frames come in ascending order and do not overlap: each begins at or after
// the end of the one before and ends at or before the volume's size. What no
// frame covers is zero. (Write looks at aligned pieces of 1 MiB and writes one
// frame for each that is not all zero, less the zero pages of 4 KiB at its two
// ends. A reader must not count on it.)
//
// The digest is the SHA-256 of: the header's line and JSON with both line
// feeds, then for each frame in order its offset (8 bytes), its length (4) and
// the SHA-256 of its content (32).
//
// A later version changes the number in the line; what follows the line may
// then be anything. Every version of this package reads all versions before it.
package stream
