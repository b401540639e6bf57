package api

// Quota bounds what services of a tenant, whose name it has, may ask for in sum.
type Quota struct {
	Meta
	Spec   QuotaSpec   `json:"spec,omitzero"`
	Status QuotaStatus `json:"status,omitzero"`
}

// QuotaSpec is how much there may be; 0 is no bound.
type QuotaSpec struct {
	Usage
	// Priority is the highest that services of the tenant may have.
	Priority int `json:"priority,omitzero"`
}

// Usage is what sets need in sum: their number, thousandths of a core, bytes of memory and of
// volumes.
type Usage struct {
	Sets int `json:"sets,omitzero"`
	Amounts
}

// QuotaStatus is told when a quota is read, and is not stored.
type QuotaStatus struct {
	Asked Usage `json:"asked,omitzero"` // by all services of the tenant
}

// Kind is Quotas.
func (q *Quota) Kind() Kind { return Quotas }

// Head is the quota's Meta.
func (q *Quota) Head() *Meta { return &q.Meta }

// Check says all that is wrong with a quota. The error is of class InvalidArgument.
func (q *Quota) Check() error {
	var f flaws
	f.meta(&q.Meta, "quota", longestService, false)
	if q.Name != "" && !isTenant(q.Name) {
		f.add("name", "%.60q is no name of a tenant: take small letters and digits", q.Name)
	}
	within(&f, "spec.sets", int64(q.Spec.Sets), 0, mostSets)
	f.amounts("spec", q.Spec.Amounts)
	within(&f, "spec.priority", int64(q.Spec.Priority), -mostPriority, mostPriority)
	return f.err()
}

const (
	mostSets     = 10_000_000
	mostPriority = 1000
)
