terraform {
  required_version = ">= 1.6"

  required_providers {
    juju = {
      source = "juju/juju"
      # 1.0 identifies models by UUID.
      version = ">= 1.0.0, < 3.0.0"
    }
  }
}
