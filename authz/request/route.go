package request

import (
	"strings"
	"sync"
)

// Kind is the kind of object that a route's path names.
type Kind string

// The kinds. What is named by a path and has no kind here has no rule on objects.
const (
	None      Kind = "-"
	Container Kind = "container"
	Exec      Kind = "exec"
	Image     Kind = "image"
	Volume    Kind = "volume"
	Network   Kind = "network"
	Plugin    Kind = "plugin"
	Swarm     Kind = "swarm"
)

// Body is what a route takes behind its head.
type Body string

// The bodies.
const (
	NoBody   Body = "none"
	Typed    Body = "json"   // one JSON object of the route's type
	Optional Body = "json?"  // the same, or nothing, or null
	Any      Body = "any"    // one JSON value that is not looked into
	Hidden   Body = "hidden" // as Any, but an Engine does not show it to plugins
	Stream   Body = "stream" // bytes, such as a tar archive
)

// Route is one endpoint of the Engine API.
type Route struct {
	Method string
	Path   string // {name} is one part, {ref} may have slashes: docker inspect asks for all kinds by one name
	Action string // named after docker's verbs, such as container.rm
	Kind   Kind
	Body   Body
	// Upgrade is the protocol that the connection may be turned into: tcp,
	// websocket, h2c, or "".
	Upgrade string
	// Lists says that the route's parameter filters narrows what is listed or
	// pruned, by label too.
	Lists  bool
	params []string
	parts  []string
}

// table is every endpoint of API 1.24 to 1.56, one a line: method, path, action,
// kind, body, and parameters. A parameter that ends in + may be repeated. "!p" is
// the upgrade to protocol p, "filters*" are filters that know labels.
const table = `
GET /_ping system.ping - none
HEAD /_ping system.ping - none
GET /version system.version - none
GET /info system.info - none
GET /events system.events - none filters* since until
GET /system/df system.df - none type+ verbose
POST /auth system.login - hidden
GET /debug/vars system.debug - none
GET /debug/pprof/{name} system.debug - none seconds debug gc
GET /containers/json container.ls - none filters* limit size all since before trunc_cmd
POST /containers/create container.create - json name platform
POST /containers/prune container.prune - none filters*
GET /containers/{ref}/json container.inspect container none size
GET /containers/{name}/top container.top container none ps_args
GET /containers/{name}/logs container.logs container none follow stdout stderr since until timestamps tail details
GET /containers/{name}/changes container.diff container none
GET /containers/{name}/export container.export container none
GET /containers/{name}/stats container.stats container none stream one-shot
GET /containers/{name}/attach/ws container.attach container none !websocket detachKeys logs stream stdin stdout stderr
GET /containers/{name}/archive container.copy-out container none path
HEAD /containers/{name}/archive container.copy-out container none path
PUT /containers/{name}/archive container.copy-in container stream path noOverwriteDirNonDir copyUIDGID
GET /containers/{name}/checkpoints container.checkpoint container none dir
POST /containers/{name}/checkpoints container.checkpoint container any
DELETE /containers/{name}/checkpoints/{checkpoint} container.checkpoint container none dir
POST /containers/{name}/resize container.resize container none h w
POST /containers/{name}/start container.start container none detachKeys checkpoint checkpoint-dir
POST /containers/{name}/stop container.stop container none t signal
POST /containers/{name}/restart container.restart container none t signal
POST /containers/{name}/kill container.kill container none signal
POST /containers/{name}/update container.update container json
POST /containers/{name}/rename container.rename container none name
POST /containers/{name}/pause container.pause container none
POST /containers/{name}/unpause container.unpause container none
POST /containers/{name}/attach container.attach container none !tcp detachKeys logs stream stdin stdout stderr
POST /containers/{name}/wait container.wait container none condition
POST /containers/{name}/exec container.exec container json
DELETE /containers/{name} container.rm container none v link force
POST /exec/{name}/start container.exec exec json !tcp
POST /exec/{name}/resize container.exec exec none h w
GET /exec/{name}/json container.exec exec none
POST /commit container.commit - json? container repo tag comment author pause changes+
GET /images/json image.ls - none filters* all digests shared-size manifests identity filter only_ids
GET /images/search image.search - none term limit filters
GET /images/get image.save - none names+ platform+
GET /images/{ref}/get image.save image none platform+
GET /images/{ref}/json image.inspect image none manifests platform size
GET /images/{ref}/history image.history image none platform
GET /images/{ref}/attestations image.inspect image none platform type statement
POST /images/create image.pull - stream fromImage fromSrc repo tag message changes+ platform
POST /images/load image.load - stream quiet platform+
POST /images/prune image.prune - none filters*
POST /images/{ref}/push image.push image any tag platform
POST /images/{ref}/tag image.tag image none repo tag
DELETE /images/{ref} image.rm image none force noprune platforms+
GET /distribution/{ref}/json image.distribution image none
POST /build image.build - stream dockerfile t+ extrahosts remote q nocache cachefrom pull rm forcerm memory memswap cpushares cpusetcpus cpusetmems cpuperiod cpuquota buildargs labels shmsize squash networkmode platform target outputs version session buildid cgroupparent securityopt ulimits isolation
POST /build/prune builder.prune - none filters all keep-storage reserved-space max-used-space min-free-space
POST /build/cancel builder.cancel - none id
POST /session image.buildkit - none !h2c
POST /grpc image.buildkit - none !h2c
GET /networks network.ls - none filters*
POST /networks/create network.create - json
POST /networks/prune network.prune - none filters*
GET /networks/{ref} network.inspect network none verbose scope status
POST /networks/{name}/connect network.connect network json
POST /networks/{name}/disconnect network.disconnect network json
DELETE /networks/{name} network.rm network none
GET /volumes volume.ls - none filters*
POST /volumes/create volume.create - json
POST /volumes/prune volume.prune - none filters*
GET /volumes/{ref} volume.inspect volume none
PUT /volumes/{name} volume.update volume any version
DELETE /volumes/{name} volume.rm volume none force
GET /plugins plugin.ls - none filters
GET /plugins/privileges plugin.privileges - none remote
GET /plugins/{ref}/json plugin.inspect plugin none
POST /plugins/pull plugin.install - any remote name
POST /plugins/create plugin.create - stream name
POST /plugins/{ref}/enable plugin.enable plugin none timeout
POST /plugins/{ref}/disable plugin.disable plugin none force
POST /plugins/{ref}/push plugin.push plugin none
POST /plugins/{ref}/upgrade plugin.upgrade plugin any remote
POST /plugins/{ref}/set plugin.set plugin any
DELETE /plugins/{ref} plugin.rm plugin none force
GET /swarm swarm.inspect - none
POST /swarm/init swarm.init - any
POST /swarm/join swarm.join - any
POST /swarm/leave swarm.leave - none force
POST /swarm/update swarm.update - any version rotateWorkerToken rotateManagerToken rotateManagerUnlockKey
POST /swarm/unlock swarm.unlock - any
GET /swarm/unlockkey swarm.unlock-key - none
GET /nodes node.ls - none filters
GET /nodes/{name} node.inspect swarm none
POST /nodes/{name}/update node.update swarm any version
DELETE /nodes/{name} node.rm swarm none force
GET /services service.ls - none filters status
POST /services/create service.create - any
GET /services/{name} service.inspect swarm none insertDefaults
GET /services/{name}/logs service.logs swarm none follow stdout stderr since timestamps tail details
POST /services/{name}/update service.update swarm any version registryAuthFrom rollback
DELETE /services/{name} service.rm swarm none
GET /tasks task.ls - none filters
GET /tasks/{name} task.inspect swarm none
GET /tasks/{name}/logs task.logs swarm none follow stdout stderr since timestamps tail details
GET /secrets secret.ls - none filters
POST /secrets/create secret.create - any
GET /secrets/{name} secret.inspect swarm none
POST /secrets/{name}/update secret.update swarm any version
DELETE /secrets/{name} secret.rm swarm none
GET /configs config.ls - none filters
POST /configs/create config.create - any
GET /configs/{name} config.inspect swarm none
POST /configs/{name}/update config.update swarm any version
DELETE /configs/{name} config.rm swarm none
`

// Routes returns the table of endpoints. It must not be changed.
func Routes() []*Route { return all().list }

type routes struct {
	list []*Route
	by   map[string][]*Route // by method and first part of the path
}

var all = sync.OnceValue(readTable) //nolint:gochecknoglobals // a constant table

func readTable() routes {
	out := routes{by: map[string][]*Route{}}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		r := &Route{Method: f[0], Path: f[1], Action: f[2], Kind: Kind(f[3]), Body: Body(f[4]), parts: strings.Split(f[1][1:], "/")}
		for _, p := range f[5:] {
			switch name, lists := strings.CutSuffix(p, "*"); {
			case p[0] == '!':
				r.Upgrade = p[1:]
			case lists:
				r.Lists = true
				r.params = append(r.params, name)
			default:
				r.params = append(r.params, p)
			}
		}
		out.list = append(out.list, r)
		key := r.Method + " " + r.parts[0]
		out.by[key] = append(out.by[key], r)
	}
	return out
}

// find returns the route of a canonical path without its version, and the name
// of the object in it. Exact parts win, since they come first in the table.
func find(method, path string) (*Route, string) {
	var few [8]string // as most paths have at most
	parts := few[:0]
	for p := range strings.SplitSeq(path[1:], "/") {
		parts = append(parts, p)
	}
	for _, r := range all().by[method+" "+parts[0]] {
		if ref, ok := r.match(parts); ok {
			return r, ref
		}
	}
	return nil, ""
}

// match compares the parts of a path. Engines match a {ref} greedily, as here:
// what stands behind it is compared from the end.
func (r *Route) match(parts []string) (ref string, ok bool) {
	if len(parts) < len(r.parts) {
		return "", false
	}
	spare := len(parts) - len(r.parts)
	for i, j := 0, 0; i < len(r.parts); i++ {
		switch p := r.parts[i]; p {
		case "{ref}":
			ref = strings.Join(parts[j:j+1+spare], "/")
			j += 1 + spare
			spare = 0
		case "{name}":
			ref = parts[j]
			j++
		case "{checkpoint}":
			j++
		default:
			if parts[j] != p {
				return "", false
			}
			j++
		}
	}
	return ref, spare == 0
}

// param says whether the route knows a parameter, and whether that is a list.
func (r *Route) param(name string) (known, list bool) {
	for _, p := range r.params {
		if p == name {
			return true, false
		}
		if len(p) == len(name)+1 && p[len(name)] == '+' && p[:len(name)] == name {
			return true, true
		}
	}
	return false, false
}

// IsStream says whether a request has a body that is not judged.
func IsStream(method, uri string) bool {
	t, err := canonical(uri)
	if err != nil {
		return true // it is refused unread
	}
	r, _ := find(method, t.path)
	if r == nil {
		return true
	}
	if r.Body != Stream {
		return false
	}
	p, err := params(r, t.query)
	return err != nil || len(p["fromImage"]) == 0
}
