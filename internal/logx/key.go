package logx

// Keys of attributes. What has a key here is logged under no other.
const (
	KeyComponent = "component" // which part of a daemon speaks
	KeySet       = "set"       // name of a set
	KeyContainer = "container" // id or name of a container
	KeyNetwork   = "network"   // id of a Docker network
	KeyEndpoint  = "endpoint"  // id of a Docker endpoint
	KeyVolume    = "volume"    // name of a Docker volume
	KeyVG        = "vg"        // name of an LVM volume group
	KeyLV        = "lv"        // name of an LVM logical volume
	KeyHost      = "host"      // name of a host
	KeyBridge    = "bridge"    // name of a bridge
	KeyPort      = "port"      // name of a port on a bridge
	KeyStep      = "step"      // name of a step of a plan
	KeyMethod    = "method"    // name of a plugin or API call
	KeyRequest   = "request"   // number of a call within one run of a daemon
	KeyTook      = "took"      // how long something lasted
	KeyErr       = "err"       // an error
)
