package api

// HeaderVia names, in a request, the mos-scheduler that passes it on to the one that leads.
const HeaderVia = "Mos-Via"

// ClusterStatus is how the cluster's own parts do.
type ClusterStatus struct {
	Version     string   `json:"version,omitzero"` // of the program that answers
	Leader      string   `json:"leader,omitzero"`  // nothing while nobody leads
	Epoch       int64    `json:"epoch,omitzero"`
	Controllers []string `json:"controllers,omitzero"`
	Revision    int64    `json:"revision"`
	// Alarms of etcd, in words.
	Alarms []string      `json:"alarms,omitzero"`
	Store  []StoreServer `json:"store,omitzero"`
}

// StoreServer is one server of etcd. Sizes are in bytes.
type StoreServer struct {
	Name    string `json:"name"`
	Leads   bool   `json:"leads,omitzero"`
	Bytes   int64  `json:"bytes,omitzero"`
	InUse   int64  `json:"inUse,omitzero"`
	Quota   int64  `json:"quota,omitzero"`
	Version string `json:"version,omitzero"`
	Error   string `json:"error,omitzero"`
}

// NewTokenSecret is a token that was just made, and its secret, which is told only once.
type NewTokenSecret struct {
	Token  *Token `json:"token"`
	Secret string `json:"secret"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name   string `json:"name"`
	Role   Role   `json:"role"`
	Tenant string `json:"tenant,omitzero"`
	TTL    string `json:"ttl,omitzero"` // such as 24h; for ever, if nothing is said
}
