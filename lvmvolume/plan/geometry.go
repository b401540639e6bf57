package plan

// Geometry is how a thin pool is laid out, in bytes.
type Geometry struct {
	Data, Meta, Chunk uint64
}

const (
	mib = 1 << 20
	// mostChunks keeps the metadata of a large pool near a gigabyte.
	mostChunks = 1 << 24
	// chunkCost is what the metadata takes for a chunk, with room for the copies
	// that a transaction makes.
	chunkCost = 80
	// volumesRoom is for thousands of volumes and snapshots beside their chunks.
	volumesRoom = 16 * mib
	// mostMeta is what the metadata of a pool can be, a little less than 16 GiB.
	mostMeta = 15 << 30
)

// PoolGeometry lays a pool out in a share of a volume group's free space. LVM
// keeps a spare as large as the metadata. Data is 0 when the space is too small.
func PoolGeometry(free uint64, share float64) Geometry {
	g := Geometry{Chunk: 64 << 10}
	whole := uint64(float64(free) * share)
	for whole/g.Chunk > mostChunks {
		g.Chunk *= 2
	}
	g.Meta = whole / g.Chunk * chunkCost
	if whole >= 2048*mib {
		g.Meta += volumesRoom
	}
	const unit = 4 * mib
	g.Meta = min(max((g.Meta+unit-1)/unit*unit, 2*unit), mostMeta)
	if whole > 2*g.Meta+64*mib {
		g.Data = (whole - 2*g.Meta) / unit * unit
	}
	return g
}
