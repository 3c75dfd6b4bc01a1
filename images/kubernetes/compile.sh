#!/bin/sh
# Runs in the build chroot. $1 = VERSION, e.g. v1.20.2. /build holds the downloaded source package and pause.go;
# the binaries end up in /build/bin.
set -eu
version=$1
cd /build
export HOME=/build GOPATH=/build/go GOCACHE=/build/cache GO111MODULE=off CGO_ENABLED=0
# The one from outside names a folder that this chroot does not have.
export TMPDIR=/tmp
# Exported for openapi-gen: built with -trimpath, it does not know where Go's own sources are, which it reads.
export GOROOT=/usr/lib/go-1.19
export PATH=$GOROOT/bin:$PATH
# The compiler's many short processes collect no garbage before they have this much: a tenth less processor time.
export GOGC=off GOMEMLIMIT=700MiB
# The same for every build below, so that no package is compiled twice. providerless and dockerless are upstream's own
# build tags: no cloud providers, no dockershim. A lab on containerd uses neither; without them kube-apiserver is 61 MB and
# kube-controller-manager 54 MB. -v names each package as it is built, which is the progress.
export GOFLAGS='-v -trimpath -tags=providerless,dockerless -gcflags=all=-dwarf=false'
minor=${version#v1.}
minor=${minor%%.*}

tree=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$tree" bin
tar -xf kubernetes_*.orig.tar.* -C "$tree" --strip-components=1
tar -xf kubernetes_*.debian.tar.* -C "$tree"
cd "$tree"
grep -v '^#' debian/patches/series | while read -r patch; do patch --quiet -p1 < "debian/patches/$patch"; done

# The vendored reflect2 1.0.1 crashes on Go 1.18 and later: every component panics in YAML. Debian's is 1.0.2.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/
# As one more command of the tree, so that one build makes all.
mkdir cmd/pause
cp /build/pause.go cmd/pause/

stamp=k8s.io/kubernetes/vendor/k8s.io
flags='-s -w'
for package in $stamp/component-base/version $stamp/client-go/pkg/version; do
  flags="$flags -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=archive"
done
build() { go build -ldflags "$flags" -o "$@" 2>&1; }

# kube-apiserver's OpenAPI is the one generated file that the source does not carry. Makefile.generated_files makes it
# from every folder that asks for it; here in the background, next to two commands that do not need it.
build /build/openapi-gen ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
openapi() {
  folders=$(find vendor/k8s.io/ pkg plugin cmd -follow -name '*.go' \
    -not -path 'vendor/k8s.io/code-generator/*' -not -path 'vendor/k8s.io/sample-apiserver/*' \
    -exec grep -l '+k8s:openapi-gen=' {} + | xargs -n1 dirname | LC_ALL=C sort -u |
    sed 's,^,k8s.io/kubernetes/,' | paste -sd,)
  /build/openapi-gen --input-dirs "$folders" --output-package k8s.io/kubernetes/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --report-filename /build/violations \
    --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt
}
openapi &
generating=$!
build /build/bin/ ./cmd/kubeadm ./cmd/pause
wait $generating
build /build/bin/ ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubelet ./cmd/kube-proxy
test "$(/build/bin/kubeadm version -o short)" = "$version"
