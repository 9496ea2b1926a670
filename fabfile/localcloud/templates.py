"""Launch templates as EC2 has them: versions build on versions, and none is left out of a list.

Pages followed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html and
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplateVersions.html.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidLaunchTemplateVersionNotFound
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import parse_user_data

from . import parameters
from .instances import once

PER_PAGE = 200
DELETED_AT_ONCE = 200


class Template(LaunchTemplate):
    """A template whose versions keep their numbers when others are deleted, and whose numbers are never given twice."""

    def create_version(self, data: dict[str, Any], description: str) -> LaunchTemplateVersion:
        """Make the next version."""
        self.highest = getattr(self, "highest", 0) + 1
        version = LaunchTemplateVersion(self, self.highest, data, description)
        self.versions.append(version)
        return version

    def get_version(self, num: Any) -> LaunchTemplateVersion:
        """Return a version by its number, ``$Latest`` or ``$Default``."""
        asked = str(num).lower()
        if asked == "$latest":
            return self.versions[-1]
        number = str(self.default_version_number) if asked == "$default" else asked
        found = next((version for version in reversed(self.versions) if str(version.number) == number), None)
        if found is None:
            raise InvalidLaunchTemplateVersionNotFound(template_id=self.id, version=num)
        return found

    def default_version(self) -> LaunchTemplateVersion:
        """Return the default version."""
        return self.get_version("$Default")


def delete_launch_template_versions(self: LaunchTemplates) -> ActionResult:
    """Delete versions; the default one, and what is not there, is told of and stays as it is."""
    template = _template(self)
    numbers = [str(number) for number in self._get_param("Versions", [])]
    if len(numbers) > DELETED_AT_ONCE:
        raise EC2ClientError("InvalidParameterValue", f"You can delete up to {DELETED_AT_ONCE} versions at a time")
    self.error_on_dryrun()
    identity = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
    gone, kept = [], []
    for number in numbers:
        error = _why_not_deleted(template, number)
        what = {**identity, "VersionNumber": int(number)}
        if error is None:
            template.versions = [version for version in template.versions if str(version.number) != number]
            gone.append(what)
        else:
            kept.append({**what, "ResponseError": error})
    result = {"SuccessfullyDeletedLaunchTemplateVersions": gone, "UnsuccessfullyDeletedLaunchTemplateVersions": kept}
    return ActionResult(result)


def _why_not_deleted(template: LaunchTemplate, number: str) -> dict[str, str] | None:
    if number == str(template.default_version_number):
        return {"Code": "unexpectedError", "Message": "The default version of a launch template cannot be deleted."}
    if all(number != str(version.number) for version in template.versions):
        message = f"Could not find the specified version {number} for the launch template with ID {template.id}."
        return {"Code": "launchTemplateVersionDoesNotExist", "Message": message}
    return None


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
        min_version=None,
        max_version=None,
        max_results=10**6,
    )
    lowest, highest = self._get_int_param("MinVersion") or 1, self._get_int_param("MaxVersion") or 10**6
    versions = [each for each in versions if lowest <= each[1].number <= highest]
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


def _data(response: LaunchTemplates, version: LaunchTemplateVersion) -> dict[str, Any]:
    """Show what a version says; where ResolveAlias asks for it, its AMI instead of the parameter that names it."""
    if not response._get_bool_param("ResolveAlias", False) or not version.image_id:
        return version.data
    return {**version.data, "ImageId": parameters.image_of(response.ec2_backend, version.image_id)}


def _shown(response: LaunchTemplates, template: LaunchTemplate, version: LaunchTemplateVersion) -> dict[str, Any]:
    return {
        "CreateTime": version.create_time,
        "CreatedBy": f"arn:{response.partition}:iam::{response.current_account}:root",
        "DefaultVersion": template.is_default(version),
        "LaunchTemplateData": _data(response, version),
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description,
        "VersionNumber": version.number,
    }
