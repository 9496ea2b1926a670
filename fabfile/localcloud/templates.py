"""Launch templates as EC2 has them: versions build on versions, and none is left out of a list.

Page followed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import parse_user_data

from .instances import once

PER_PAGE = 200


def create_launch_template_version(self: LaunchTemplates) -> ActionResult:
    """Build a version on its source version, once for each client token."""

    def answer() -> dict[str, Any]:
        template = _template(self)
        given = dict(self._get_param("LaunchTemplateData", {}))
        if "UserData" in given:
            given["UserData"] = parse_user_data(given["UserData"])
        source = self._get_param("SourceVersion")
        inherited = dict(template.get_version(source).data) if source else {}
        self.error_on_dryrun()
        version = template.create_version({**inherited, **given}, self._get_param("VersionDescription"))
        version.create_time = self.ec2_backend.cloud.utcnow()
        return {"LaunchTemplateVersion": _shown(self, template, version)}

    return once(self, "CreateLaunchTemplateVersion", answer)  # type: ignore[no-any-return]


def describe_launch_template_versions(self: LaunchTemplates) -> ActionResult:
    """Show all versions page by page, instead of the first fifteen."""
    versions = self.ec2_backend.describe_launch_template_versions(
        template_name=self._get_param("LaunchTemplateName"),
        template_id=self._get_param("LaunchTemplateId"),
        versions=self._get_param("Versions", []),
        min_version=self._get_int_param("MinVersion"),
        max_version=self._get_int_param("MaxVersion"),
        max_results=10**6,
    )
    start = int(self._get_param("NextToken") or 0)
    end = start + self._get_int_param("MaxResults", PER_PAGE)
    result: dict[str, Any] = {
        "LaunchTemplateVersions": [_shown(self, template, version) for template, version in versions[start:end]]
    }
    if end < len(versions):
        result["NextToken"] = str(end)
    return ActionResult(result)


def _template(response: LaunchTemplates) -> LaunchTemplate:
    name, template_id = response._get_param("LaunchTemplateName"), response._get_param("LaunchTemplateId")
    if name:
        template = response.ec2_backend.get_launch_template_by_name(name)
    else:
        template = response.ec2_backend.get_launch_template(template_id)
    assert isinstance(template, LaunchTemplate)  # noqa: S101 - tells the type
    return template


def _shown(response: LaunchTemplates, template: LaunchTemplate, version: LaunchTemplateVersion) -> dict[str, Any]:
    return {
        "CreateTime": version.create_time,
        "CreatedBy": f"arn:{response.partition}:iam::{response.current_account}:root",
        "DefaultVersion": template.is_default(version),
        "LaunchTemplateData": version.data,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description,
        "VersionNumber": version.number,
    }
