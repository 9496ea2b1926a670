# Packer 1.10 and later bundle no plugins; earlier ones do, and refuse to be told which. The bake adds this file where needed.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.2"
    }
    ansible = {
      source  = "github.com/hashicorp/ansible"
      version = "~> 1.1"
    }
  }
}
