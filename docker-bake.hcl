// The images as they are published: for two architectures, with SBOM and provenance.
//
//   docker buildx bake --print             what would be built
//   docker buildx bake slim --load         one of them, for this machine: --set '*.platform=linux/amd64'
//
// They carry no ibapi, and nothing that brings it: IBKR's API software comes under IBKR's own terms. You install it by your own
// command: `docker build .` (the default of CLIENTS), or `ibkr-exporter clients install ibapi`.
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }
variable "CREATED" { default = "unknown" }
variable "SOURCE" { default = "unknown" }
// BuildKit dates what it makes itself by this; the files of our layers have one date in any case.
variable "SOURCE_DATE_EPOCH" { default = "1767225600" }

group "default" {
  targets = ["image", "slim"]
}

// docker/metadata-action fills these two with tags and labels.
target "image-metadata" {
  tags = ["ibkr-exporter:${VERSION}"]
}
target "slim-metadata" {
  tags = ["ibkr-exporter:${VERSION}-slim"]
}

target "common" {
  context   = "."
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=sbom", "type=provenance,mode=max"]
  args = {
    VERSION           = VERSION
    REVISION          = REVISION
    CREATED           = CREATED
    SOURCE            = SOURCE
    SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH
  }
}

target "image" {
  inherits = ["common", "image-metadata"]
  args     = { CLIENTS = "ib_insync ib_async" }
}

// The exporter alone.
target "slim" {
  inherits = ["common", "slim-metadata"]
  args     = { CLIENTS = "" }
}
