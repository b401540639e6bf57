package link

// Holding is what a host has beside the cluster's sets. It is told once to each leader, and
// after each change, with the report that is due next. The leader keeps it in memory.
type Holding struct {
	Images []Image `json:"images,omitzero"` // the largest, at most MostImages
	// Kept says that its images are as this leader was told them, and are not told here.
	Kept bool `json:"kept,omitzero"`
	// Ports are those of the host that containers of others than the cluster's sets have
	// published, as tcp/80, or as tcp/127.0.0.1:80 at one of its addresses: at most MostPorts.
	Ports []string `json:"ports,omitzero"`
}

// The bounds of what a host tells. A leader takes no more.
const (
	MostImages = 200
	MostLayers = 4000 // of all its images
	MostTags   = 1000 // names of all its images
	MostName   = 512  // bytes of one
	MostPorts  = 2000
)

// Image is one that a host's Engine has.
type Image struct {
	Names  []string `json:"names"` // with tag, or with digest
	Layers []Layer  `json:"layers,omitzero"`
}

// Layer is a part of an image, upon those before it.
type Layer struct {
	ID    string `json:"id"` // the same wherever it and all below it are the same
	Bytes int64  `json:"bytes"`
}
