package judge

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/authz/request"
)

// fields of a new container, each with a value that a tenant may not give it; or
// why it may have any. A field that a newer API adds is in neither.
var hostFields = map[string]string{
	"Binds": `["/etc:/x"]`, "LogConfig": `{"Type":"syslog"}`, "NetworkMode": `"host"`, "PortBindings": `{"80/tcp":[{"HostPort":"22"}]}`,
	"VolumeDriver": `"sshfs"`, "VolumesFrom": `["mine"]`, "Annotations": `{"run.oci.x":"1"}`, "CapAdd": `["SYS_ADMIN"]`, "CgroupnsMode": `"host"`,
	"GroupAdd": `["0"]`, "IpcMode": `"host"`, "Cgroup": `"container:mine"`, "Links": `["theirs:x"]`, "OomScoreAdj": `-1`, "PidMode": `"host"`,
	"Privileged": `true`, "SecurityOpt": `["seccomp:unconfined"]`, "StorageOpt": `{"size":"1"}`, "Tmpfs": `{"/x":"rw,exec"}`, "UTSMode": `"host"`,
	"UsernsMode": `"host"`, "ShmSize": `9999999999`, "Sysctls": `{"kernel.core_pattern":"|/x"}`, "Runtime": `"evil"`, "Isolation": `"hyperv"`,
	"CgroupParent": `"/"`, "CpuRealtimePeriod": `1`, "CpuRealtimeRuntime": `1`, "Devices": `[{"PathOnHost":"/dev/sda"}]`, "DeviceCgroupRules": `["a *:* rwm"]`,
	"DeviceRequests": `[{"Driver":"nvidia"}]`, "OomKillDisable": `true`, "Ulimits": `[{"Name":"rtprio","Hard":99}]`, "Mounts": `[{"Type":"bind","Source":"/"}]`,
	"MaskedPaths": `[]`, "ReadonlyPaths": `[]`,

	"RestartPolicy": "harmless", "AutoRemove": "harmless", "ConsoleSize": "harmless", "CapDrop": "takes rights away", "Dns": "of the container's own", "DnsOptions": "as Dns",
	"DnsSearch": "as Dns", "ExtraHosts": "as Dns", "PublishAllPorts": "ports that the Engine chooses", "ReadonlyRootfs": "takes rights away", "Umask": "of the container's own",
	"Init": "the Engine's own program", "CpuShares": "a weight among others", "Memory": "a bound, when the profile has one", "NanoCpus": "as Memory", "PidsLimit": "as Memory",
	"BlkioWeight": "as CpuShares", "BlkioWeightDevice": "as CpuShares", "BlkioDeviceReadBps": "takes rights away", "BlkioDeviceWriteBps": "takes rights away", "BlkioDeviceReadIOps": "takes rights away",
	"BlkioDeviceWriteIOps": "takes rights away", "CpuPeriod": "as Memory", "CpuQuota": "as Memory", "CpusetCpus": "takes rights away", "CpusetMems": "takes rights away",
	"MemoryReservation": "as Memory", "MemorySwap": "as Memory", "MemorySwappiness": "of the container's own", "CpuCount": "of Windows", "CpuPercent": "of Windows", "IOMaximumIOps": "of Windows",
	"IOMaximumBandwidth": "of Windows", "KernelMemory": "as Memory", "KernelMemoryTCP": "as Memory", "DiskQuota": "of Engines before 1.13",
	"ContainerIDFile": "docker run --cidfile writes it, Engines only keep the name",
}

var configFields = map[string]string{
	"Labels": `{"mos.role":"infra"}`, "Volumes": `{"/:/h":{}}`, "Image": `"b/app"`,
	"MacAddress": "of its network only", "Hostname": "its own", "Domainname": "its own", "User": "within its namespaces", "AttachStdin": "its own", "AttachStdout": "its own", "AttachStderr": "its own",
	"ExposedPorts": "publishes nothing", "Tty": "its own", "OpenStdin": "its own", "StdinOnce": "its own", "Env": "its own", "Cmd": "its own", "Healthcheck": "runs in it", "ArgsEscaped": "of Windows",
	"WorkingDir": "its own", "Entrypoint": "its own", "NetworkDisabled": "takes rights away", "OnBuild": "its own", "StopSignal": "its own", "StopTimeout": "its own", "Shell": "its own",
}

func keys(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		if f.Anonymous {
			out = append(out, keys(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		out = append(out, name)
	}
	return out
}

func TestEveryFieldOfANewContainerIsJudged(t *testing.T) {
	for _, part := range []struct {
		of     reflect.Type
		fields map[string]string
		body   string
	}{
		{reflect.TypeFor[request.HostConfig](), hostFields, `{"Image":"busybox","HostConfig":{"KEY":VALUE}}`},
		{reflect.TypeFor[request.Config](), configFields, `{"KEY":VALUE}`},
	} {
		for _, key := range keys(part.of) {
			value, known := part.fields[key]
			if !known {
				t.Errorf("nobody thought about field %s of %s: may a tenant have it?", key, part.of)
				continue
			}
			if !strings.ContainsAny(value[:1], "[{\"-0123456789") && value != "true" {
				continue
			}
			body := strings.NewReplacer("KEY", key, "VALUE", value).Replace(part.body)
			s, err := ParseSuite("s", "object container mine owner=a\nobject image busybox\nobject image b/app owner=b\nwho gid=2000\ncall POST /v1.45/containers/create\nbody "+body+"\nwant deny")
			if err != nil {
				t.Fatal(err)
			}
			if r := s.Run(load(t))[0]; !r.OK || r.Rule == "request" {
				t.Errorf("%s: %q by %q", body, r.Reason, r.Rule)
			}
		}
	}
}
