# One image: a fresh base instance, Ansible over SSH, an AMI that is tagged with what is in it.
# The same file bakes on AWS and in the local cloud. Every variable comes from a file that the bake writes.

variable "region" {
  type = string
}

variable "endpoint" {
  type        = string
  default     = null
  description = "URL of another EC2 API, such as the local cloud's; null for AWS"
}

variable "poll_s" {
  type        = number
  description = "Seconds between two looks at an instance or image"
}

variable "poll_attempts" {
  type = number
}

variable "base_image" {
  type = object({
    id          = string
    name        = string
    owners      = list(string)
    root_device = string
    root_gib    = number
  })
  description = "The AMI to start from: its id, and the filter that it must still pass"
}

variable "instance_type" {
  type = string
}

variable "instance_profile" {
  type    = string
  default = null
}

variable "subnet" {
  type    = string
  default = null
}

variable "ssh" {
  type = object({
    user      = string
    interface = string
    cidrs     = list(string)
  })
}

variable "image_name" {
  type = string
}

variable "image_description" {
  type = string
}

variable "tags" {
  type        = map(string)
  description = "What is in the image; set last of all, so that only a finished image has them"
}

variable "run_tags" {
  type        = map(string)
  description = "For everything that the bake makes on its way, so that what a killed one leaves can be found"
}

variable "ansible" {
  type = object({
    command   = string
    playbook  = string
    config    = string
    variables = string
  })
  description = "Paths on this machine"
}

variable "work" {
  type        = string
  description = "Folder of this bake alone: Ansible's sockets, the builder's host key, the manifest"
}

source "amazon-ebs" "image" {
  region              = var.region
  custom_endpoint_ec2 = var.endpoint

  # What asks other services of AWS than EC2 has nobody to ask behind another endpoint.
  skip_region_validation     = var.endpoint != null
  skip_credential_validation = var.endpoint != null
  skip_metadata_api_check    = var.endpoint != null

  aws_polling {
    delay_seconds = var.poll_s
    max_attempts  = var.poll_attempts
  }

  # The id pins what the bake chose and hashed; owners and name must still agree, so that no stranger's image is taken.
  source_ami_filter {
    filters = {
      image-id = var.base_image.id
      name     = var.base_image.name
    }
    owners      = var.base_image.owners
    most_recent = true
  }

  instance_type        = var.instance_type
  iam_instance_profile = var.instance_profile
  subnet_id            = var.subnet

  # Encrypted from the first write: encrypt_boot would copy the whole image once more.
  launch_block_device_mappings {
    device_name           = var.base_image.root_device
    volume_size           = var.base_image.root_gib
    volume_type           = "gp3"
    encrypted             = true
    delete_on_termination = true
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  communicator                              = "ssh"
  ssh_username                              = var.ssh.user
  ssh_interface                             = var.ssh.interface
  ssh_timeout                               = "5m"
  ssh_clear_authorized_keys                 = true
  temporary_key_pair_type                   = "ed25519"
  associate_public_ip_address               = var.ssh.interface == "public_ip" ? true : null
  temporary_security_group_source_cidrs     = var.ssh.cidrs
  temporary_security_group_source_public_ip = length(var.ssh.cidrs) == 0 && var.ssh.interface != "session_manager"

  ami_name        = var.image_name
  ami_description = var.image_description
  tags            = var.tags
  snapshot_tags   = var.tags
  run_tags        = var.run_tags
  run_volume_tags = var.run_tags
}

build {
  sources = ["source.amazon-ebs.image"]

  # Straight to the machine: Packer's own SSH proxy in between is slower, and speaks a dialect that newer OpenSSH does not.
  provisioner "ansible" {
    use_proxy     = false
    command       = var.ansible.command
    playbook_file = var.ansible.playbook
    user          = var.ssh.user

    extra_arguments = ["--extra-vars", "@${var.ansible.variables}"]

    # A builder's host key is new to everyone: taken at the first login, held to until the last, known to this bake alone.
    ansible_env_vars = [
      "ANSIBLE_CONFIG=${var.ansible.config}",
      "ANSIBLE_NOCOLOR=1",
      "ANSIBLE_FORCE_COLOR=0",
      "ANSIBLE_SSH_CONTROL_PATH_DIR=${var.work}/cp",
      "ANSIBLE_SSH_ARGS=-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=${var.work}/known_hosts",
      "PYTHONUNBUFFERED=1",
    ]
  }

  post-processor "manifest" {
    output = "${var.work}/manifest.json"
  }
}
